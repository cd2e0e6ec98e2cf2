"""bge-m3-lite: bge-m3 alone, in ONNX Runtime, with a tokenizer in Python. Its own int8: a scale per row, SmoothQuant.

It downloads its graphs and its vocabulary. Here it makes its graphs from the checkpoint's weights, with its own
functions for that, from a graph that is exported as the one on the hub is. Its two heads get random weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.data.seeded_m3 import CONFIG, write_heads
from benchmarks.peers.base import Encoder, Kit
from embedge.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.peers.workbench import Workbench

_FOLDER, _RAW = "bge-m3-lite", "model.onnx"
# Its graphs by variant. fp32 is its default; its weights are in the file of the graph that it is made of, too.
_GRAPHS = {"int8": "model_int8.onnx", "fp32": "model_fused.onnx"}
_SHAPE = ("model_type", "hidden_size", "num_attention_heads", "intermediate_size")
_LAYERS = 24  # it refuses a graph with another number
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
    if (folder / _GRAPHS[variant]).is_file():
        return
    folder.mkdir(exist_ok=True)
    from bge_m3_lite.fuse import fuse
    from bge_m3_lite.quantize import quantize

    from benchmarks.peers.sentence_piece import write_sentence_piece
    from embedge_export.optimum.load import quiet

    write_sentence_piece(bench.tokenizer(), folder / "sentencepiece.bpe.model")
    with quiet():
        _export(bench.checkpoint.directory, folder)
        with _of_any_depth():
            fuse(folder / _RAW)
            if variant == "int8":
                fused, graph = folder / _GRAPHS["fp32"], folder / _GRAPHS["int8"]
                quantize(fused, graph, calibration_texts=bench.calibration[:_CALIBRATION])
    write_heads(folder)


@contextmanager
def _of_any_depth() -> Iterator[None]:
    """Let it fuse a graph of fewer layers: it stops unless it counts 24 fused ``Attention`` nodes."""
    from onnxruntime.transformers.optimizer import MODEL_TYPES

    model_class = MODEL_TYPES["bert"][0]
    count = model_class.get_fused_operator_statistics
    model_class.get_fused_operator_statistics = lambda model: {**count(model), "Attention": _LAYERS}
    try:
        yield
    finally:
        model_class.get_fused_operator_statistics = count


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


def load(kit: Kit) -> Encoder:
    """Load the files as the library does with its downloads, without the digests of those."""
    from bge_m3_lite import BGEM3Embedder, hub

    folder = kit.folder / _FOLDER
    for group in ("TOKENIZER_FILES", "HEAD_FILES"):
        own = tuple(
            replace(file, size=(folder / file.name).stat().st_size, sha256=None) for file in getattr(hub, group)
        )
        setattr(hub, group, own)
    graph = _GRAPHS[kit.variant]
    model = BGEM3Embedder(folder, num_threads=kit.threads, quiet=True, model_path=folder / graph)
    data = (f"{graph}_data", f"{_RAW}_data") if kit.variant == "fp32" else (f"{graph}_data",)
    size = sum((folder / name).stat().st_size for name in (graph, *data))
    return LiteEncoder(size=size, model=model)
