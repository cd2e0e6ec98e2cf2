"""The layers that bge-m3 keeps beside its encoder, in numpy: what graphs' outputs for tokens are held to."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensors import Tensors


@dataclass(frozen=True, slots=True, eq=False)
class TokenHead:
    """A linear layer, float32.

    Attributes:
        weight: [outputs, dimension].
        bias: [outputs].
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def weigh(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights of tokens, float32 [batch, tokens], by their hidden states, [batch, tokens, dimension].

        Source: FlagEmbedding, ``BGEM3ForInference.sparse_embedding``.

        >>> TokenHead(np.float32([[1, 2]]), np.float32([-1])).weigh(np.float32([[[1, 1], [0, 0]]])).tolist()
        [[2.0, 0.0]]
        """
        weights: NDArray[np.float32] = np.maximum(self.project(hidden), 0)[..., 0]
        return weights

    def project(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors of tokens of any length, float32 [batch, tokens, outputs], by their hidden states.

        Source: FlagEmbedding, ``EncoderOnlyEmbedderM3Model._colbert_embedding``.

        >>> TokenHead(np.float32([[1, 2], [0, 1]]), np.float32([-1, 0])).project(np.float32([[[1, 1]]])).tolist()
        [[[2.0, 1.0]]]
        """
        vectors: NDArray[np.float32] = hidden @ self.weight.T + self.bias
        return vectors


def read_head(checkpoint: Checkpoint, file: Path | None, *, outputs: int) -> TokenHead | None:
    """The layer in a file beside a checkpoint's encoder; None where there is no file.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    if file is None:
        return None
    with Tensors(checkpoint, layer=file) as tensors:
        return TokenHead(tensors.get("weight", outputs, checkpoint.dimension), tensors.get("bias", outputs))
