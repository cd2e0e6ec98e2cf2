"""The hybrid score of bge-m3: the weighted mean of the dense, the lexical and the late-interaction score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from embedge.errors import InputTypeError, InputValueError, short
from embedge.inference.embeddings import Embedding
from embedge.inference.errstate import own_errstate
from embedge.inference.late_interaction import max_similarity

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridScore:
    """The scores of a query and a document; a kind that one of them lacks is None.

    Attributes:
        total: the weighted mean of the scores below that are not None.
        dense: the dot product of the dense vectors: the cosine, if they have length 1.
        sparse: the lexical score, ``SparseVector.dot``.
        multi_vector: the late-interaction score, ``max_similarity``.
    """

    total: float
    dense: float | None = None
    sparse: float | None = None
    multi_vector: float | None = None


@own_errstate
def hybrid_score(query: Embedding, document: Embedding, *, weights: Sequence[float] = (1, 1, 1)) -> HybridScore:
    """Return the scores of a query and a document by every kind of vector that both have, and their weighted mean.

    These are the scores of ``compute_score`` in FlagEmbedding's ``BGEM3FlagModel``, which calls the weights
    ``weights_for_different_modes``, in the same order and with the same default. ``total`` is its
    ``"colbert+sparse+dense"``, and its ``"sparse+dense"`` where there are no multi-vectors. Its documentation weighs
    ``(0.4, 0.2, 0.4)``.

    Args:
        query: the vectors of one text, from ``Embedder.encode_all``; dense ones in float32.
        document: the vectors of another text.
        weights: the weights of the dense, the sparse and the multi-vector score, in this order; 0 or more.

    Raises:
        InputTypeError: a text's vectors are not an ``Embedding``, for example the ``Embeddings`` of several texts; or
            the weights are not three numbers.
        InputValueError: the texts have no kind in common, or dense vectors that cannot be compared; or a weight is
            negative or not finite, or all weights of the kinds that there are are 0.
    """
    for name, value in (("query", query), ("document", document)):
        if not isinstance(value, Embedding):
            raise InputTypeError(
                f"{name} must be the Embedding of one text, found {type(value).__name__}; take one text by its index"
            )
    dense_weight, sparse_weight, multi_weight = _check_weights(weights)
    scores: list[tuple[float, float]] = []
    dense = sparse = multi = None
    if query.dense is not None and document.dense is not None:
        dense = _dot(query.dense, document.dense)
        scores.append((dense_weight, dense))
    if query.sparse is not None and document.sparse is not None:
        sparse = query.sparse.dot(document.sparse)
        scores.append((sparse_weight, sparse))
    if query.multi_vector is not None and document.multi_vector is not None:
        multi = max_similarity(query.multi_vector, document.multi_vector)
        scores.append((multi_weight, multi))
    return HybridScore(total=_weighted_mean(scores), dense=dense, sparse=sparse, multi_vector=multi)


def _check_weights(weights: Sequence[float]) -> list[float]:
    try:
        numbers = [] if isinstance(weights, str | set | Mapping) else [float(weight) for weight in weights]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != 3:
        raise InputTypeError(
            f"weights must be three numbers, for dense, sparse and multi_vector, found {short(weights)}; "
            "pass for example (0.4, 0.2, 0.4)"
        )
    if not all(isfinite(number) and number >= 0 for number in numbers):
        raise InputValueError(f"weights must be 0 or more, found {short(weights)}; pass for example (0.4, 0.2, 0.4)")
    return numbers


def _dot(first: NDArray[Any], second: NDArray[Any]) -> float:
    for vector in (first, second):
        if vector.dtype != np.float32 or vector.ndim != 1:
            raise InputValueError(
                f"dense vectors to score must be float32 [dimension], found {vector.dtype} {list(vector.shape)}; "
                "encode with precision='float32'"
            )
    if first.shape != second.shape:
        raise InputValueError(
            f"vectors to compare must have the same dimension, found {len(first)} and {len(second)}; "
            "embed both with the same model and the same truncate_dim"
        )
    return float((first * second).sum())


def _weighted_mean(scores: Sequence[tuple[float, float]]) -> float:
    """The weighted mean of pairs of weight and score.

    >>> _weighted_mean([(3, 1.0), (1, 5.0)])
    2.0
    """
    if not scores:
        raise InputValueError(
            "the texts have no kind of vector in common; call encode_all for both with the same dense, sparse and "
            "multi_vector"
        )
    largest = max(weight for weight, _ in scores)  # divided by it, no sum overflows, and no weight becomes 0
    if not largest:
        raise InputValueError("the weights of all kinds that both texts have are 0; give one of them a weight")
    whole = sum(weight / largest for weight, _ in scores)
    return sum(weight / largest * score for weight, score in scores) / whole
