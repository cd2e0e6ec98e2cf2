"""fastembed: a custom model with fastembed's defaults, which are padded batches of 256 texts in input order."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from numpy.typing import NDArray

from benchmarks.peers.base import Encoder, Kit

if TYPE_CHECKING:
    from benchmarks.peers.workbench import Workbench

_POOLINGS = {"cls": PoolingType.CLS, "mean": PoolingType.MEAN}


@dataclass(frozen=True, slots=True, kw_only=True)
class FastembedEncoder:
    """An encoder that is a TextEmbedding."""

    size: int
    model: TextEmbedding

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        return np.array(list(self.model.embed(list(texts))), np.float32)


def build(bench: "Workbench", variant: str) -> None:
    """Copy a graph: ``fp32`` is optimum's, ``int8-channel`` is that of the row stock-int8-channel."""
    from benchmarks.peers.stock import quantised

    graph = bench.traced() if variant == "fp32" else quantised(bench, variant)
    shutil.copyfile(graph, bench.repository() / f"{variant}.onnx")


def load(kit: Kit) -> Encoder:
    """Load the graph of the variant as a custom model."""
    folder, name = kit.folder / "repository", f"{kit.folder.name}-{kit.variant}"
    _register(name, kit)
    model = TextEmbedding(name, specific_model_path=str(folder), threads=kit.threads)
    return FastembedEncoder(size=(folder / f"{kit.variant}.onnx").stat().st_size, model=model)


def _register(name: str, kit: Kit) -> None:
    if all(known["model"] != name for known in TextEmbedding.list_supported_models()):
        TextEmbedding.add_custom_model(
            model=name,
            pooling=_POOLINGS[kit.pooling],
            normalization=True,
            sources=ModelSource(hf=name),  # fastembed requires a source, and does not use it: load() gives a path
            dim=kit.dimension,
            model_file=f"{kit.variant}.onnx",
        )
