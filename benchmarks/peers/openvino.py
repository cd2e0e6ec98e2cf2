"""OpenVINO: optimum's graph, quantised by NNCF with the settings that optimum-intel and sentence-transformers use.

OpenVINO is told to compute what is not int8 in float32. Left alone it takes bfloat16 or float16 where the processor has
them (AMX, ARM), which is another loss than that of int8, and not there on every machine.
"""

from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
from numpy.typing import NDArray

from embedge_export.reference import quiet
from peers.base import Encoder, Workbench
from peers.padded import Ids, PaddedEncoder, pad


def make(bench: Workbench, variant: str) -> Encoder:
    """``int8``: calibrated weights and activations. ``int8-weights``: weights only, computed in float32."""
    path = bench.folder / f"openvino-{variant}.xml"
    with quiet():
        graph = openvino.Core().read_model(str(bench.traced()))
        graph = _quantise(graph, bench) if variant == "int8" else nncf.compress_weights(graph)
        openvino.save_model(graph, str(path), compress_to_fp16=False)
    return PaddedEncoder(
        size=path.stat().st_size + path.with_suffix(".bin").stat().st_size,
        tokenizer=bench.tokenizer(),
        pooling=bench.checkpoint.pooling,
        run=_Compiled(path, threads=bench.threads),
    )


def _quantise(graph: openvino.Model, bench: Workbench) -> openvino.Model:
    """Static activation scales, SmoothQuant and bias correction: NNCF's recipe for transformers."""
    tokenizer = bench.tokenizer()
    samples = [_feed(*pad([tokenizer.encode(text).ids])) for text in bench.calibration]
    return nncf.quantize(
        graph,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
    )


def _feed(ids: Ids, mask: Ids) -> dict[str, Ids]:
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


class _Compiled:
    """A compiled graph as a function of padded ids and their mask."""

    def __init__(self, path: Path, *, threads: int) -> None:
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self._graph = openvino.Core().compile_model(str(path), "CPU", options)
        self._named = {name for tensor in self._graph.inputs for name in tensor.names}

    def __call__(self, ids: Ids, mask: Ids) -> NDArray[Any]:
        feed = {name: value for name, value in _feed(ids, mask).items() if name in self._named}
        return np.array(self._graph(feed)["last_hidden_state"])
