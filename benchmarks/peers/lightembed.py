"""light-embed: ONNX Runtime behind sentence-transformers' interface, in batches of 32, longest text first.

light-embed has no option for the number of threads, so the graph sets it: with ORT_LOAD_CONFIG_FROM_MODEL=1, ONNX
Runtime reads session options from the metadata ``ort_config`` of a graph (source: inference_session_utils.h in ONNX
Runtime). All else has the library's defaults.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import Encoder, Kit

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_GRAPH = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class LightEmbedEncoder:
    """An encoder that is a TextEmbedding."""

    size: int
    model: Any

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        return np.asarray(self.model.encode(list(texts)), np.float32)


def build(bench: "Workbench", variant: str) -> None:
    """Write the graph of the row stock-int8-channel, and the other files that the library reads."""
    import json

    import onnx

    from benchmarks.peers.stock import quantised
    from embedge_export.bundle_files import write_side_files

    folder = _folder(bench.folder, variant, bench.threads)
    if (folder / _GRAPH).is_file():
        return
    write_side_files(bench.checkpoint, folder)
    graph = onnx.load(quantised(bench, f"{variant}-channel"))
    options = {"session_options": {"intra_op_num_threads": bench.threads}}
    graph.metadata_props.add(key="ort_config", value=json.dumps(options))
    onnx.save(graph, folder / _GRAPH)


def load(kit: Kit) -> Encoder:
    """Load the model from a local folder, as the library's readme does."""
    from light_embed import TextEmbedding

    os.environ["ORT_LOAD_CONFIG_FROM_MODEL"] = "1"
    folder = _folder(kit.folder, kit.variant, kit.threads)
    config = {"onnx_file": _GRAPH, "pooling_config_path": "1_Pooling", "normalize": True}
    model = TextEmbedding(str(folder), device="cpu", model_config=config)
    return LightEmbedEncoder(size=(folder / _GRAPH).stat().st_size, model=model)


def _folder(folder: Path, variant: str, threads: int) -> Path:
    return folder / f"light-embed-{variant}-{threads}"
