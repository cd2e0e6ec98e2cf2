"""Weights of tokens to a sparse vector: what a text's words count for, as lexical search wants it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedge.inference.errstate import own_errstate


@dataclass(frozen=True, slots=True, eq=False)
class SparseVector:
    """A text's lexical weights: every token that counts, once.

    Attributes:
        indices: token ids, ascending, int32 [k].
        values: their weights, above 0, float32 [k].
    """

    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    @own_errstate
    def dot(self, other: "SparseVector") -> float:
        """The lexical score of two texts: the sum of products over the tokens that both have.

        >>> a = SparseVector(np.int32([3, 7]), np.float32([0.5, 2]))
        >>> b = SparseVector(np.int32([7, 9]), np.float32([0.25, 1]))
        >>> a.dot(b)
        0.5
        """
        _, mine, theirs = np.intersect1d(self.indices, other.indices, assume_unique=True, return_indices=True)
        return float((self.values[mine] * other.values[theirs]).sum())

    def as_dict(self) -> Mapping[int, float]:
        """Weight by token id."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))


@own_errstate
def to_sparse(
    ids: NDArray[np.integer[Any]], weights: NDArray[np.float32], *, leave_out: Collection[int]
) -> SparseVector:
    """The largest weight of each token of a text, where it is above 0.

    As the paper on bge-m3 has it (Chen et al., arXiv:2402.03216, section 3.2), and FlagEmbedding's ``lexical_weights``.

    Args:
        ids: of the text's tokens, [tokens], of any integer type.
        weights: of the same, [tokens].
        leave_out: ids of special tokens, which are no words.

    >>> found = to_sparse(np.int32([0, 9, 5, 9]), np.float32([8, 0.25, 0, 0.5]), leave_out={0})
    >>> found.as_dict()
    {9: 0.5}
    """
    indices, places = np.unique(ids, return_inverse=True)
    highest = np.zeros(len(indices), np.float32)
    np.maximum.at(highest, places, weights)
    kept = (highest > 0) & ~np.isin(indices, list(leave_out))
    return SparseVector(indices[kept].astype(np.int32), highest[kept])
