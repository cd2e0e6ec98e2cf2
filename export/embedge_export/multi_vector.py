"""Vectors of tokens as a checkpoint's own layer gives them, in numpy; and how nearly a graph's are the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedge_export.checkpoint import Checkpoint
from embedge_export.tensors import Tensors


@dataclass(frozen=True, slots=True, eq=False)
class MultiVectorHead:
    """A linear layer, float32.

    Attributes:
        weight: [dimension, dimension], outputs first.
        bias: [dimension].
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def project(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors of tokens of any length, float32 [batch, tokens, dimension], by their hidden states, of that shape.

        Source: FlagEmbedding, ``EncoderOnlyEmbedderM3Model._colbert_embedding``.

        >>> MultiVectorHead(np.float32([[1, 2], [0, 1]]), np.float32([-1, 0])).project(np.float32([[[1, 1]]])).tolist()
        [[[2.0, 1.0]]]
        """
        vectors: NDArray[np.float32] = hidden @ self.weight.T + self.bias
        return vectors


def read_multi_vector_head(checkpoint: Checkpoint) -> MultiVectorHead | None:
    """The layer beside a checkpoint's encoder, if there is one.

    Raises:
        CheckpointError: its file cannot be read, or holds something else.
    """
    if checkpoint.multi_vector_head is None:
        return None
    width = checkpoint.dimension
    with Tensors(checkpoint, files=(checkpoint.multi_vector_head,)) as tensors:
        return MultiVectorHead(tensors.get("weight", width, width), tensors.get("bias", width))


def token_cosines(
    mine: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """The cosine of each token's two vectors, float64 [tokens], for each text; apart from the runtime's on purpose.

    Args:
        mine: of each text [tokens, dimension].
        theirs: of the same shapes.

    >>> token_cosines([np.float32([[1, 0], [0, 2]])], [np.float32([[3, 0], [0, -1]])])[0].tolist()
    [1.0, -1.0]
    """
    found = []
    for first, second in zip(mine, theirs, strict=True):
        a, b = first.astype(np.float64), second.astype(np.float64)
        found.append((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
    return found
