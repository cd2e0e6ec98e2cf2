"""bge-m3-lite: bge-m3 alone, in ONNX Runtime, with a tokenizer in Python. Its own int8: a scale per row, SmoothQuant.

It downloads its graphs and its vocabulary. Here it makes its graph from the checkpoint's weights, with its own
functions for that, from a graph that is exported as the one on the hub is. Its two heads get random weights; no row
reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.seeded_m3 import CONFIG
from benchmarks.peers.base import Encoder, Kit
from embedge.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.workbench import Workbench

_FOLDER, _GRAPH, _RAW = "bge-m3-lite", "model_int8.onnx", "model.onnx"
_SHAPE = ("model_type", "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size")
_CALIBRATION = 32  # texts; it brings more, but the time of a graph does not depend on what fits it


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteEncoder:
    """An encoder that is a BGEM3Embedder."""

    size: int
    model: Any

    def encode(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Unit vectors of texts, [n, dimension], in input order, in the library's own batches."""
        vectors: NDArray[np.float32] = self.model.encode(list(texts))["dense_vecs"]
        return vectors


def build(bench: "Workbench", variant: str) -> None:
    """Export, fuse and quantise the graph, and write the vocabulary and the heads.

    Raises:
        CheckpointError: the checkpoint does not have bge-m3's shape.
    """
    found = {key: bench.checkpoint.config.get(key) for key in _SHAPE}
    if found != {key: CONFIG[key] for key in _SHAPE}:
        raise CheckpointError(
            f"{bench.checkpoint.directory} has {found}, and bge-m3-lite has only bge-m3's shape; leave the row out, or "
            "pass `--shape m3`"
        )
    folder = bench.folder / _FOLDER
    if (folder / _GRAPH).is_file():
        return
    folder.mkdir()
    from bge_m3_lite.fuse import fuse
    from bge_m3_lite.quantize import quantize

    from benchmarks.peers.sentence_piece import write_sentence_piece
    from embedge_export.optimum.load import quiet

    write_sentence_piece(bench.tokenizer(), folder / "sentencepiece.bpe.model")
    with quiet():
        _export(bench.checkpoint.directory, folder)
        fuse(folder / _RAW)
        quantize(folder / "model_fused.onnx", folder / _GRAPH, calibration_texts=bench.calibration[:_CALIBRATION])
    _write_heads(folder)


def _export(checkpoint: Path, folder: Path) -> None:
    """Export as the hub's graph is: opset 11, ``token_embeddings``, and the weights in a file of their own."""
    import onnx
    import torch
    from transformers import XLMRobertaModel

    model = XLMRobertaModel.from_pretrained(checkpoint, attn_implementation="eager", add_pooling_layer=False).eval()

    class Hidden(torch.nn.Module):  # type: ignore[misc]  # torch is Any here
        def __init__(self) -> None:
            super().__init__()
            self.model = model  # a tracer knows the weights of modules inside a module only

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            return hidden

    inputs, outputs = ["input_ids", "attention_mask"], ["token_embeddings"]
    ids = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    torch.onnx.export(
        Hidden(),
        (ids, (ids != 1).long()),
        str(folder / "traced.onnx"),
        input_names=inputs,
        output_names=outputs,
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in (*inputs, *outputs)},
        opset_version=11,
        dynamo=False,
    )
    onnx.save_model(
        onnx.load(str(folder / "traced.onnx")),
        str(folder / _RAW),
        save_as_external_data=True,
        location=f"{_RAW}_data",
    )


def _write_heads(folder: Path) -> None:
    import torch

    for name, outputs in (("sparse_linear.pt", 1), ("colbert_linear.pt", CONFIG["hidden_size"])):
        head = torch.nn.Linear(CONFIG["hidden_size"], outputs).half()
        torch.save(dict(head.state_dict()), folder / name)


def load(kit: Kit) -> Encoder:
    """Load the files as the library does with its downloads, without the digests of those."""
    from bge_m3_lite import BGEM3Embedder, hub

    folder = kit.folder / _FOLDER
    for group in ("TOKENIZER_FILES", "HEAD_FILES"):
        own = tuple(
            replace(file, size=(folder / file.name).stat().st_size, sha256=None) for file in getattr(hub, group)
        )
        setattr(hub, group, own)
    model = BGEM3Embedder(folder, num_threads=kit.threads, quiet=True, model_path=folder / _GRAPH)
    size = sum((folder / name).stat().st_size for name in (_GRAPH, f"{_GRAPH}_data"))
    return LiteEncoder(size=size, model=model)
