"""fastembed: a custom model, run as fastembed does by default: batches of 256 in input order, padded to the longest."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from numpy.typing import NDArray

from peers.base import Encoder, Workbench
from peers.stock import quantised

_POOLINGS = {"cls": PoolingType.CLS, "mean": PoolingType.MEAN}


@dataclass(frozen=True, slots=True, kw_only=True)
class FastembedEncoder:
    """A TextEmbedding."""

    size: int
    model: TextEmbedding

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        return np.array(list(self.model.embed(list(texts))), np.float32)


def make(bench: Workbench, variant: str) -> Encoder:
    """``fp32``: optimum's graph. ``int8-channel``: the same file as the stock row of that name."""
    graph = bench.traced() if variant == "fp32" else quantised(bench, variant)
    folder, name = bench.repository(), f"{bench.checkpoint.fetched.name}-{variant}-{bench.checkpoint.sha256[:8]}"
    shutil.copyfile(graph, folder / f"{variant}.onnx")
    if all(known["model"] != name for known in TextEmbedding.list_supported_models()):
        TextEmbedding.add_custom_model(
            model=name,
            pooling=_POOLINGS[bench.checkpoint.pooling],
            normalization=True,
            sources=ModelSource(hf=name),  # asked for, and not used: the path below is
            dim=bench.checkpoint.dimension,
            model_file=f"{variant}.onnx",
        )
    model = TextEmbedding(name, specific_model_path=str(folder), threads=bench.threads)
    return FastembedEncoder(size=graph.stat().st_size, model=model)
