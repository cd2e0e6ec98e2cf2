"""Token weights to sparse vectors, for lexical search."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedge.inference.errstate import own_errstate

if TYPE_CHECKING:
    from numpy.typing import NDArray  # `embedge ship` leaves it out of functions


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """The lexical weights of a text: each token that has a weight, once.

    Attributes:
        indices: token ids, ascending, int32 [k].
        values: their weights, above 0, float32 [k].
    """

    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    @own_errstate
    def dot(self, other: SparseVector) -> float:
        """Return the lexical score of two texts: the sum of the products of weights, over the tokens that both have.

        >>> a = SparseVector(np.int32([3, 7]), np.float32([0.5, 2]))
        >>> b = SparseVector(np.int32([7, 9]), np.float32([0.25, 1]))
        >>> a.dot(b)
        0.5
        """
        _, mine, theirs = np.intersect1d(self.indices, other.indices, assume_unique=True, return_indices=True)
        return float((self.values[mine] * other.values[theirs]).sum())

    def as_dict(self) -> Mapping[int, float]:
        """Return the weights by token id."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))


@own_errstate
def to_sparse(
    ids: NDArray[np.integer[Any]], weights: NDArray[np.float32], *, leave_out: Collection[int]
) -> SparseVector:
    """Return the largest weight of each token of a text, if it is above 0.

    This is the sparse vector of the bge-m3 paper (Chen et al., arXiv:2402.03216, section 3.2), and what FlagEmbedding
    calls ``lexical_weights``.

    Args:
        ids: ids of the text's tokens, [tokens], of any integer type.
        weights: weights of the same tokens, float32 [tokens].
        leave_out: ids of special tokens, which are not words.

    >>> vector = to_sparse(np.int32([0, 9, 5, 9]), np.float32([8, 0.25, 0, 0.5]), leave_out={0})
    >>> vector.as_dict()
    {9: 0.5}
    """
    indices, positions = np.unique(ids, return_inverse=True)
    highest = np.zeros(len(indices), np.float32)
    np.maximum.at(highest, positions, weights)
    is_word = (highest > 0) & ~np.isin(indices, list(leave_out))
    return SparseVector(indices[is_word].astype(np.int32), highest[is_word])
