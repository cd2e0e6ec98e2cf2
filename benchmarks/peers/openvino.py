"""OpenVINO: optimum's graph, quantised by NNCF with the settings that optimum-intel and sentence-transformers use.

The option INFERENCE_PRECISION_HINT makes OpenVINO compute everything that is not int8 in float32. By default it uses
bfloat16 or float16 where the processor has them (AVX-512 BF16, AMX, ARM), which loses accuracy on these machines only.
The variants with ``-auto`` leave that to OpenVINO.
"""

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
from numpy.typing import NDArray

from benchmarks.peers.base import TUNED, Encoder, Kit
from benchmarks.peers.padded import Ids, load_padded, pad

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_PRECISION = "INFERENCE_PRECISION_HINT"
_AUTO = "-auto"


def build(bench: "Workbench", variant: str) -> None:
    """Quantise: ``int8`` has int8 weights and activations, ``int8-weights`` int8 weights and float32 arithmetic."""
    import nncf

    from embedge_export.optimum.load import quiet

    kind = _kind(variant)
    if _AUTO in variant:
        chosen = openvino.Core().get_property("CPU", _PRECISION).get_type_name()
        print(f"openvino-{variant}: OpenVINO chooses {chosen} on this processor", file=sys.stderr)
    path = bench.folder / f"openvino-{kind}.xml"
    if path.is_file():
        return
    with quiet():
        graph = openvino.Core().read_model(str(bench.traced()))
        graph = _quantise(graph, bench) if kind == "int8" else nncf.compress_weights(graph)
        openvino.save_model(graph, str(path), compress_to_fp16=False)


def _quantise(graph: openvino.Model, bench: "Workbench") -> openvino.Model:
    """Quantise with NNCF's settings for transformers: static activation scales, SmoothQuant and bias correction."""
    import nncf

    tokenizer = bench.tokenizer()
    samples = [_feed(*pad([tokenizer.encode(text).ids])) for text in bench.calibration]
    return nncf.quantize(
        graph,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
    )


def load(kit: Kit) -> Encoder:
    """One stream on all cores, for latency. Tuned: one stream per core, as OpenVINO's documentation advises."""
    path = kit.folder / f"openvino-{_kind(kit.variant)}.xml"
    tuned = kit.variant.endswith(TUNED)
    streams = kit.threads if tuned else 1
    run = _Compiled(path, threads=kit.threads, streams=streams, float32=_AUTO not in kit.variant)
    return load_padded(kit, run, size=path.stat().st_size + path.with_suffix(".bin").stat().st_size, tuned=tuned)


def _kind(variant: str) -> str:
    """The kind of graph that a variant runs.

    >>> _kind("int8-auto-tuned"), _kind("int8-weights")
    ('int8', 'int8-weights')
    """
    return variant.removesuffix(TUNED).removesuffix(_AUTO)


def _feed(ids: Ids, mask: Ids) -> dict[str, Ids]:
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


class _Compiled:
    """A compiled graph as a function of padded ids and their mask. Every thread has its own inference request."""

    def __init__(self, path: Path, *, threads: int, streams: int, float32: bool) -> None:
        options: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
        if float32:
            options[_PRECISION] = "f32"
        self._graph = openvino.Core().compile_model(str(path), "CPU", options)
        self._named = {name for tensor in self._graph.inputs for name in tensor.names}
        self._own = threading.local()

    def __call__(self, ids: Ids, mask: Ids) -> NDArray[Any]:
        if not hasattr(self._own, "request"):
            self._own.request = self._graph.create_infer_request()
        feed = {name: value for name, value in _feed(ids, mask).items() if name in self._named}
        return np.array(self._own.request.infer(feed)["last_hidden_state"])
