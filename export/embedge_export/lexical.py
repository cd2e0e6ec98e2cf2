"""Lexical weights as a checkpoint's own layer gives them, in numpy; and how nearly a graph's are the same."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedge_export.checkpoint import Checkpoint
from embedge_export.tensors import Tensors


@dataclass(frozen=True, slots=True, eq=False)
class SparseHead:
    """A linear layer of one output, float32.

    Attributes:
        weight: [1, dimension].
        bias: [1].
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def weigh(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weights of tokens, float32 [batch, tokens], by their hidden states, [batch, tokens, dimension].

        Source: FlagEmbedding, ``BGEM3ForInference.sparse_embedding``.

        >>> SparseHead(np.float32([[1, 2]]), np.float32([-1])).weigh(np.float32([[[1, 1], [0, 0]]])).tolist()
        [[2.0, 0.0]]
        """
        weights: NDArray[np.float32] = np.maximum(hidden @ self.weight.T + self.bias, 0)[..., 0]
        return weights


def read_head(checkpoint: Checkpoint) -> SparseHead | None:
    """The layer beside a checkpoint's encoder, if there is one.

    Raises:
        CheckpointError: its file cannot be read, or holds something else.
    """
    if checkpoint.sparse_head is None:
        return None
    with Tensors(checkpoint, files=(checkpoint.sparse_head,)) as tensors:
        return SparseHead(tensors.get("weight", 1, checkpoint.dimension), tensors.get("bias", 1))


def largest_by_token(
    ids: Iterable[int], weights: Iterable[float], *, leave_out: Collection[int]
) -> Mapping[int, float]:
    """The largest weight of each token of a text, where it is above 0; apart from the runtime's own on purpose.

    >>> largest_by_token([0, 9, 5, 9], [8, 0.25, 0, 0.5], leave_out={0})
    {9: 0.5}
    """
    found: dict[int, float] = {}
    for token, weight in zip(ids, weights, strict=True):
        if token not in leave_out and weight > found.get(token, 0):
            found[token] = weight
    return found


def agreements(mine: Sequence[Mapping[int, float]], theirs: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
    """How far the weights a and b of each text agree: 1 - |a - b|² / (|a|² + |b|²), float64 [texts].

    That is 1 where they are the same, 0 where they share no token, and their cosine where they are of one length;
    lengths count, since scores are sums of products of weights. A text whose weights are small adds little to any
    score: its difference is held against the mean of |a|² + |b|², where its own is less.

    >>> agreements([{1: 1, 2: 1}, {1: 1}], [{1: 1, 2: 1}, {1: 1, 2: 0.5}]).tolist()
    [1.0, 0.92]
    >>> agreements([{}], [{}]).tolist()
    [1.0]
    """
    pairs = list(zip(mine, theirs, strict=True))
    apart = np.array([sum((a.get(token, 0) - b.get(token, 0)) ** 2 for token in a.keys() | b.keys()) for a, b in pairs])
    sizes = np.array([sum(weight**2 for weight in (*a.values(), *b.values())) for a, b in pairs])
    against = np.maximum(sizes, sizes.mean())
    agreed: NDArray[np.float64] = 1 - np.divide(apart, against, out=np.zeros(len(pairs)), where=against != 0)
    return agreed
