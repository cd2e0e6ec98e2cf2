"""The table of the encoders. Processes whose start is measured must not import it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.base import Encoder, Kit
    from benchmarks.peers.workbench import Workbench

BASELINE = "embedge-fp32"
OWN = "embedge-int8"  # the row with which all others are compared, where neither a program nor a user names another
KERNELS = "embedge_kernels"  # the package with the fused kernels
FORCE = "EMBEDGE_KERNELS_ISA"  # the environment variable that forces one of INSTRUCTION_SETS on them
INSTRUCTION_SETS = ("amx", "avx512_vnni", "avx_vnni", "avx2", "neon_i8mm", "neon_dotprod", "neon", "scalar")
_OPTIMUM = ("optimum.exporters.onnx", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One encoder to compare: a row of a benchmark.

    Attributes:
        module: the name of its adapter in this folder.
        variant: the encoder, of those that the adapter has.
        about: how the encoder is made, in one line.
        needs: the modules that ``build`` imports in this environment.
        environment: the packages of the virtual environment that loads the encoder; empty means this environment.
        without: the packages to uninstall from there, because they are not needed and cannot be imported.
        variables: environment variables of its processes, as pairs of a name and a value.
        install: the command that installs what ``needs`` names.
    """

    module: str
    variant: str
    about: str
    needs: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    install: str = "pip install -e '.[bench]'"

    @property
    def name(self) -> str:
        """The name of the row, such as ``ctranslate2-int8``."""
        return f"{self.module.replace('_', '-')}-{self.variant}"

    def missing(self) -> tuple[str, ...]:
        """The packages that ``build`` needs and that are not installed."""
        tops = dict.fromkeys(name.partition(".")[0] for name in self.needs)
        gone = [top for top in tops if find_spec(top) is None]
        return tuple(gone) or tuple(name for name in self.needs if not _importable(name))

    def why_left_out(self) -> str | None:
        """Why this encoder cannot be built here, with the command to type; None if it can be."""
        missing = self.missing()
        return f"not installed: {', '.join(missing)}; `{self.install}` installs it" if missing else None

    def build(self, bench: "Workbench") -> None:
        """Write its files to the folder of the workbench, unless they exist."""
        import_module(f"benchmarks.peers.{self.module}").build(bench, self.variant)

    def load(self, kit: "Kit") -> "Encoder":
        """Load the encoder from files that ``build`` has written."""
        encoder: Encoder = import_module(f"benchmarks.peers.{self.module}").load(kit)
        return encoder


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


_OWN = tuple(
    Peer(
        module="embedge",
        variant=precision,
        about=f"exported by embedge, {precision}",
        needs=("onnx",),
        variables=(("EMBEDGE_KERNELS", "off"),),  # for the command in the cold start; the adapter says so, too
    )
    for precision in ("fp32", "int8", "fp16")
)


def fused_peer(instruction_set: str | None = None) -> Peer:
    """The row of embedge's fused kernels, which take the best instruction set of the processor unless one is named.

    >>> fused_peer().name, fused_peer("avx512_vnni").name
    ('embedge-int8-fused', 'embedge-int8-fused-avx512-vnni')
    """
    own = f" with {instruction_set} instructions" if instruction_set else ""
    return Peer(
        module="embedge",
        variant="-".join(["int8-fused", *(instruction_set or "").split("_")]).rstrip("-"),
        about=f"exported by embedge, int8, run by its fused kernels{own}",
        needs=("onnx", KERNELS),
        variables=((FORCE, instruction_set),) if instruction_set else (),
        install="pip install ./kernels",
    )


_FUSED = fused_peer()
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
        variant="int8-auto",
        about="openvino-int8 in the precision that OpenVINO chooses for what is not int8: bf16 or f16 where it is fast",
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
PEERS: tuple[Peer, ...] = (*_OWN, _FUSED, *_OTHERS)  # each has vectors of its own

_TUNED = tuple(
    Peer(
        module=module,
        variant=f"{variant}-tuned",
        about=f"{module}-{variant} in batches of 256 tokens, {on_cores}",
        needs=needs,
    )
    for module, variant, on_cores, needs in (
        ("stock", "int8-channel", "a thread for each core", _OPTIMUM),
        ("ctranslate2", "int8", "a worker for each core", ("ctranslate2",)),
        ("openvino", "int8", "a stream for each core", ("openvino", "nncf", *_OPTIMUM)),
        ("openvino", "int8-auto", "a stream for each core", ("openvino", "nncf", *_OPTIMUM)),
    )
)
_IN_OWN_ENVIRONMENT = (
    Peer(
        module="sentence_transformers",
        variant="openvino-int8",
        about="the graph of openvino-int8, by optimum-intel",
        needs=("openvino", "nncf", *_OPTIMUM),
        environment=("torch==2.13.0", "sentence-transformers>=5.1,<6", "optimum-intel[openvino]==2.2.0"),
        without=("torchvision",),  # PyPI's build cannot be imported with every build of torch
    ),
    Peer(
        module="lightembed",
        variant="int8",
        about="the graph of stock-int8-channel, by light-embed",
        needs=_OPTIMUM,
        environment=("light-embed==1.0.9",),
    ),
    Peer(
        module="fasttextembed",
        variant="fp16",
        about="fasttextembed: C, weights in float16, no other package; its own format",
        environment=("fasttextembed==1.0.2",),
    ),
    Peer(
        module="bge_m3_lite",
        variant="int8",
        about="bge-m3-lite: its own int8 graph and tokenizer, batches of 12; only bge-m3's shape",
        needs=("bge_m3_lite", "onnx", "onnx_ir", "sympy", "torch", "transformers"),
    ),
    *(
        Peer(
            module="llama",
            variant=variant,
            about=f"llama.cpp (llama-cpp-python, compiled for this processor), Q8_0, {contexts}",
            needs=("gguf",),
            environment=("llama-cpp-python==0.3.34",),
        )
        for variant, contexts in (("q8-0", "a context of all cores"), ("q8-0-tuned", "a context for each core"))
    ),
)
_SLOW = ("embedge-fp16", "stock-int8-tensor", "openvino-int8-weights")  # nobody chooses these for speed
SPEED_PEERS: tuple[Peer, ...] = (*(peer for peer in PEERS if peer.name not in _SLOW), *_TUNED, *_IN_OWN_ENVIRONMENT)

_BATCHES = "the best of batches of 32, 128 and 512 texts"
GPU_PEERS: tuple[Peer, ...] = (
    *(peer for peer in _OWN if peer.variant != "int8"),
    *(
        Peer(
            module="sentence_transformers",
            variant=variant,
            about=f"torch in {variant}, {_BATCHES}",
            needs=("sentence_transformers",),
        )
        for variant in ("float16", "bfloat16")
    ),
)


def choose(patterns: Sequence[str], peers: Sequence[Peer] = PEERS) -> tuple[Peer, ...]:
    """The peers whose names match a pattern, in which ``*`` stands for anything. No patterns choose all peers.

    >>> [peer.name for peer in choose(["ctranslate2-int8", "*-fp32"])]
    ['embedge-fp32', 'ctranslate2-int8', 'fastembed-fp32', 'sentence-transformers-fp32']

    Raises:
        LookupError: no name matches a pattern. The message lists the names.
    """
    for pattern in patterns:
        if not any(fnmatchcase(peer.name, pattern) for peer in peers):
            raise LookupError(f"no row is called {pattern!r}; the rows are {', '.join(peer.name for peer in peers)}")
    return tuple(peer for peer in peers if not patterns or any(fnmatchcase(peer.name, p) for p in patterns))
