"""Metrics of quality, as pure functions of arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def spearman(first: Sequence[float] | NDArray[Any], second: Sequence[float] | NDArray[Any]) -> float:
    """Spearman's rank correlation. Ties get the mean of their ranks.

    >>> round(spearman([1, 2, 3], [10, 20, 15]), 3)
    0.5
    """
    a, b = (_ranks(np.asarray(values, np.float64)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0. Ties get the mean of their ranks.

    >>> _ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [1.5, 0.0, 1.5]
    """
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: NDArray[np.float64] = np.cumsum(counts) - 1 - (counts - 1) / 2
    return middle[groups]


def ndcg(ranking: Sequence[int], grades: Mapping[int, int], *, depth: int) -> float:
    """The nDCG of one query, as trec_eval's ``ndcg_cut`` defines it and BEIR and MTEB report it.

    The gain of a document is its grade, not 0 or 1 and not 2**grade - 1. Its discount is log2(rank + 1), where the
    first rank is 1. The ideal ranking contains all judged documents, also those that the ranking lacks.

    Args:
        ranking: documents, best first.
        grades: the grades of the judged documents, of which at least one is above 0.
        depth: the number of ranks that count.

    >>> round(ndcg([7, 5], {5: 1, 7: 3}, depth=10), 3), round(ndcg([5, 7], {5: 1, 7: 3}, depth=10), 3)
    (1.0, 0.797)
    """
    ranked = [grades.get(document, 0) for document in ranking[:depth]]
    best = sorted(grades.values(), reverse=True)[:depth]
    return _gain(ranked) / _gain(best)


def _gain(grades: Sequence[int]) -> float:
    return float((np.array(grades, np.float64) / np.log2(np.arange(len(grades)) + 2)).sum())


def recall(ranking: Sequence[int], grades: Mapping[int, int], *, depth: int) -> float:
    """The fraction of one query's relevant documents (grade above 0) that the first ``depth`` ranks contain.

    >>> recall([7, 1, 5], {5: 1, 7: 3}, depth=2)
    0.5
    """
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranking[:depth])) / len(relevant)


def rank(queries: NDArray[np.float32], documents: NDArray[np.float32], *, depth: int) -> list[list[int]]:
    """For each query's unit vector, the documents with the highest cosines, best first; ties keep their order.

    >>> rank(np.float32([[0, 1]]), np.float32([[1, 0], [0, 1], [1, 0]]), depth=2)
    [[1, 0]]
    """
    order = np.argsort(-(queries @ documents.T), axis=1, kind="stable")
    ranking: list[list[int]] = order[:, :depth].tolist()
    return ranking


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each vector with the vector at the same index of the other array: float64 [n].

    >>> cosines(np.float32([[3, 4]]), np.float32([[4, 3]])).round(2).tolist()
    [0.96]
    """
    a, b = (x.astype(np.float64) for x in (first, second))
    cosine: NDArray[np.float64] = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return cosine
