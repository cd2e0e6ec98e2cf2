"""The figures of a quality report that are computed in the same way for embedders and rerankers."""

import numpy as np
from numpy.typing import NDArray

from embedge.bundle.manifest import Quality

_TOP = 10


def quality_of(
    cosines: NDArray[np.float64], *, reference: str, texts: int, overlap: float, difference: float
) -> Quality:
    """Return a quality report, its figures rounded to the digits that a manifest records.

    Args:
        cosines: the cosines to the reference.
        reference: the name of the reference.
        texts: how many were compared.
        overlap: from ``top_overlap``.
        difference: the largest absolute difference to the reference.
    """
    return Quality(
        reference=reference,
        texts=texts,
        cosine_mean=round(float(cosines.mean()), 7),
        cosine_min=round(float(cosines.min()), 7),
        cosine_p1=round(float(np.percentile(cosines, 1)), 7),
        top10_overlap=overlap,
        max_abs_difference=three_digits(difference),
    )


def mean_and_min(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean and the minimum, rounded to the digits that a manifest records."""
    return round(float(values.mean()), 7), round(float(values.min()), 7)


def three_digits(value: float) -> float:
    """Round to three significant digits.

    >>> three_digits(0.00123456)
    0.00123
    """
    return float(f"{value:.3g}")


def top_overlap(actual: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Return the share of the ten best passages by ``expected`` that are also among the ten best by ``actual``.

    It is the mean over the questions. Passages with the same score count in their order.

    Args:
        actual: the score of each passage, [questions, passages].
        expected: the reference's scores, of the same shape.
    """
    best = [np.argsort(-scores, axis=1, kind="stable")[:, :_TOP] for scores in (actual, expected)]
    shares = [len(set(first) & set(second)) / len(first) for first, second in zip(*best, strict=True)]
    return round(float(np.mean(shares)), 4)
