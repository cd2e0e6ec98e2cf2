"""Build and calibrate the float32 graph of a checkpoint, and run a graph."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.graph.encoder import build_graph
from embedge_export.int8.calibrate import calibrate
from embedge_export.int8.moments import Activations

Floats = NDArray[np.float32]
TEXTS = ["the cat sat on the mat", "a dog ran far away", "how do i bake bread ?", "blue river stone", "cats running"]


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def fit(folder: Path) -> tuple[ModelProto, Mapping[str, Activations]]:
    """Return the float32 graph of a checkpoint, and its activations on TEXTS."""
    model = build_graph(checkpoint_of(folder))
    return model, calibrate(model, TEXTS * 7, tokenizer=folder / "tokenizer.json", max_tokens=64)


def run(model: ModelProto, ids: NDArray[np.int64], mask: NDArray[np.int64] | None = None) -> Floats:
    mask = np.ones_like(ids) if mask is None else mask
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    hidden: Floats = session.run(
        None, {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask}
    )[0]
    return hidden
