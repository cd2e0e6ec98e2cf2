"""The encoders that benchmarks compare, one adapter module for each library.

An adapter ``peers.<module>`` has ``make(bench, variant) -> Encoder``, and imports its library at the top; it is itself
imported when its row is wanted and its packages are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from embedge.bundle import PRECISIONS

if TYPE_CHECKING:
    from peers.base import Encoder, Workbench

BASELINE = "embedge-fp32"
_OPTIMUM = ("optimum.exporters.onnx", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One encoder to compare: a row of a benchmark.

    Attributes:
        module: its adapter in this folder.
        variant: which of the adapter's encoders.
        about: how it is made, in a line.
        needs: modules that must be importable.
    """

    module: str
    variant: str
    about: str
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the row is called, such as ``ctranslate2-int8``."""
        return f"{self.module.replace('_', '-')}-{self.variant}"

    def missing(self) -> tuple[str, ...]:
        """The packages that it needs and that are not installed."""
        tops = dict.fromkeys(name.partition(".")[0] for name in self.needs)
        gone = [top for top in tops if find_spec(top) is None]
        return tuple(gone) or tuple(name for name in self.needs if not _importable(name))

    def make(self, bench: "Workbench") -> "Encoder":
        """The encoder of a checkpoint."""
        encoder: Encoder = import_module(f"peers.{self.module}").make(bench, self.variant)
        return encoder


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


# fp32 first, the rest as the exporter has them.
_OWN = tuple(
    Peer(module="embedge", variant=precision, about=f"exported by embedge, {precision}", needs=("onnx",))
    for precision in sorted(PRECISIONS, key=lambda name: name != "fp32")
)
_OTHERS = (
    Peer(
        module="stock",
        variant="int8-tensor",
        about="optimum's graph, quantize_dynamic with its defaults; ONNX Runtime",
        needs=_OPTIMUM,
    ),
    Peer(
        module="stock",
        variant="int8-channel",
        about="optimum's graph, quantize_dynamic with per_channel=True; ONNX Runtime",
        needs=_OPTIMUM,
    ),
    Peer(
        module="ctranslate2",
        variant="int8",
        about="TransformersConverter, quantization int8; CTranslate2",
        needs=("ctranslate2", "transformers", "torch"),
    ),
    Peer(
        module="openvino",
        variant="int8",
        about="optimum's graph, nncf.quantize for transformers, 300 texts of calibration; OpenVINO in f32",
        needs=("openvino", "nncf", *_OPTIMUM),
    ),
    Peer(
        module="openvino",
        variant="int8-weights",
        about="optimum's graph, nncf.compress_weights; OpenVINO in f32",
        needs=("openvino", "nncf", *_OPTIMUM),
    ),
    Peer(
        module="fastembed",
        variant="fp32",
        about="optimum's graph as a custom model, batches of 256",
        needs=("fastembed", *_OPTIMUM),
    ),
    Peer(
        module="fastembed",
        variant="int8-channel",
        about="the graph of stock-int8-channel as a custom model, batches of 256",
        needs=("fastembed", *_OPTIMUM),
    ),
    Peer(
        module="sentence_transformers",
        variant="fp32",
        about="torch in float32: the reference implementation",
        needs=("sentence_transformers",),
    ),
    Peer(
        module="sentence_transformers",
        variant="onnx-int8",
        about="export_dynamic_quantized_onnx_model for avx512_vnni",
        needs=("sentence_transformers", *_OPTIMUM),
    ),
)
PEERS: tuple[Peer, ...] = (*_OWN, *_OTHERS)


def choose(patterns: Sequence[str]) -> tuple[Peer, ...]:
    """The peers whose name is one of the patterns (``*`` stands for anything); all where there are none.

    >>> [peer.name for peer in choose(["ctranslate2-int8", "*-fp32"])]
    ['embedge-fp32', 'ctranslate2-int8', 'fastembed-fp32', 'sentence-transformers-fp32']

    Raises:
        LookupError: a pattern names none; the message lists the names.
    """
    for pattern in patterns:
        if not any(fnmatchcase(peer.name, pattern) for peer in PEERS):
            raise LookupError(f"no row is called {pattern!r}; there are {', '.join(peer.name for peer in PEERS)}")
    return tuple(peer for peer in PEERS if not patterns or any(fnmatchcase(peer.name, p) for p in patterns))
