"""What quality is measured in. Pure: arrays in, numbers out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def spearman(first: Sequence[float] | NDArray[Any], second: Sequence[float] | NDArray[Any]) -> float:
    """Spearman's rank correlation; ties share the mean of their ranks.

    >>> round(spearman([1, 2, 3], [10, 20, 15]), 3)
    0.5
    """
    a, b = (_ranks(np.asarray(values, np.float64)) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, ties at their mean.

    >>> _ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [1.5, 0.0, 1.5]
    """
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: NDArray[np.float64] = np.cumsum(counts) - 1 - (counts - 1) / 2
    return middle[groups]


def ndcg(ranking: Sequence[int], grades: Mapping[int, int], *, depth: int) -> float:
    """Normalised discounted cumulative gain of one query: trec_eval's ``ndcg_cut``, which BEIR and MTEB report.

    The gain of a document is its grade itself, not 0 or 1 and not 2**grade - 1; its discount is log2(rank + 1), with
    ranks from 1; the ideal ranking holds every judged document, also those that were not found.

    Args:
        ranking: documents, best first.
        grades: of the documents that are relevant, at least one of them above 0.
        depth: how many ranks count.

    >>> round(ndcg([7, 5], {5: 1, 7: 3}, depth=10), 3), round(ndcg([5, 7], {5: 1, 7: 3}, depth=10), 3)
    (1.0, 0.797)
    """
    found = [grades.get(document, 0) for document in ranking[:depth]]
    best = sorted(grades.values(), reverse=True)[:depth]
    return _gain(found) / _gain(best)


def _gain(grades: Sequence[int]) -> float:
    return float((np.array(grades, np.float64) / np.log2(np.arange(len(grades)) + 2)).sum())


def recall(ranking: Sequence[int], grades: Mapping[int, int], *, depth: int) -> float:
    """The part of one query's relevant documents, of any grade above 0, that is among the first ``depth``.

    >>> recall([7, 1, 5], {5: 1, 7: 3}, depth=2)
    0.5
    """
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant.intersection(ranking[:depth])) / len(relevant)


def rank(queries: NDArray[np.float32], documents: NDArray[np.float32], *, depth: int) -> list[list[int]]:
    """For each query's unit vector, the documents of highest cosine, best first; equal ones by their position.

    >>> rank(np.float32([[0, 1]]), np.float32([[1, 0], [0, 1], [1, 0]]), depth=2)
    [[1, 0]]
    """
    order = np.argsort(-(queries @ documents.T), axis=1, kind="stable")
    ranking: list[list[int]] = order[:, :depth].tolist()
    return ranking


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each vector of one set with the vector at its place in the other: float64 [n].

    >>> cosines(np.float32([[3, 4]]), np.float32([[4, 3]])).round(2).tolist()
    [0.96]
    """
    a, b = (x.astype(np.float64) for x in (first, second))
    cosine: NDArray[np.float64] = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return cosine
