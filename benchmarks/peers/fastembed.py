"""fastembed: a custom model, run as fastembed does by default: batches of 256 in input order, padded to the longest."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from numpy.typing import NDArray

from peers.base import Encoder, Kit

if TYPE_CHECKING:
    from peers.workbench import Workbench

_POOLINGS = {"cls": PoolingType.CLS, "mean": PoolingType.MEAN}


@dataclass(frozen=True, slots=True, kw_only=True)
class FastembedEncoder:
    """A TextEmbedding."""

    size: int
    model: TextEmbedding

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        return np.array(list(self.model.embed(list(texts))), np.float32)


def build(bench: "Workbench", variant: str) -> None:
    """``fp32``: optimum's graph. ``int8-channel``: the same file as the stock row of that name."""
    from peers.stock import quantised

    graph = bench.traced() if variant == "fp32" else quantised(bench, variant)
    shutil.copyfile(graph, bench.repository() / f"{variant}.onnx")


def load(kit: Kit) -> Encoder:
    """The file of the variant, from the folder."""
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
            sources=ModelSource(hf=name),  # asked for, and not used: a path is given
            dim=kit.dimension,
            model_file=f"{kit.variant}.onnx",
        )
