"""Similarity of vectors by the measure that a model was trained for; higher is more similar. Pure numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from embedge.errors import InputTypeError, InputValueError
from embedge.inference.errstate import own_errstate
from embedge.inference.pool import normalise, scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.bundle.manifest import Similarity

_BLOCK = 1 << 22  # differences that are computed at a time, 16 MB
_REMEDY = "pass the arrays that encode returns"


@own_errstate
def similarity(first: NDArray[Any], second: NDArray[Any], measure: Similarity = "cosine") -> NDArray[np.float32]:
    """Return the similarity of each vector of ``first`` to each vector of ``second``.

    Args:
        first: numbers [n, dimension], or [dimension] for one vector.
        second: numbers [m, dimension], or [dimension] for one vector.
        measure: ``"cosine"``; ``"dot"``, the dot product; ``"euclidean"`` or ``"manhattan"``, the negative distance (L2
            or L1). The names are those of sentence-transformers' ``similarity_fn_name``.

    Returns:
        float32 [n, m]; a cosine is between -1 and 1.

    Raises:
        InputTypeError: an argument is not an array of numbers.
        InputValueError: the dimensions differ, or a number is not finite.

    >>> similarity(np.array([1, 0]), np.array([[2, 0], [0, 5]])).tolist()
    [[1.0, 0.0]]
    >>> similarity(np.array([1, 0]), np.array([[2, 0], [0, 5]]), "dot").tolist()
    [[2.0, 0.0]]
    """
    a, b = _check(first), _check(second)
    if a.shape[-1] != b.shape[-1]:
        raise InputValueError(
            f"vectors to compare must have the same dimension, found {a.shape[-1]} and {b.shape[-1]}; "
            "embed both with the same model"
        )
    return _MEASURES[measure](a, b)


@own_errstate
def similarity_pairwise(
    first: NDArray[Any], second: NDArray[Any], measure: Similarity = "cosine"
) -> NDArray[np.float32]:
    """Return the similarity of each vector of ``first`` to the vector at the same position of ``second``.

    Args:
        first: numbers [n, dimension], or [dimension] for one vector.
        second: numbers of the same shape.
        measure: see ``similarity``.

    Returns:
        float32 [n]; a cosine is between -1 and 1.

    Raises:
        InputTypeError: an argument is not an array of numbers.
        InputValueError: the shapes differ, or a number is not finite.

    >>> similarity_pairwise(np.array([[1, 0], [0, 3]]), np.array([[2, 0], [5, 0]])).tolist()
    [1.0, 0.0]
    """
    a, b = _check(first), _check(second)
    if a.shape != b.shape:
        raise InputValueError(
            f"vectors to compare in pairs must have the same shape, found {list(a.shape)} and {list(b.shape)}; "
            "to compare each with each, use similarity"
        )
    return _PAIRWISE[measure](a, b)


def _check(vectors: Any) -> NDArray[Any]:
    """Return the vectors as an array of numbers, [n, dimension]."""
    try:
        array = np.atleast_2d(np.asarray(vectors))
    except ValueError as error:  # lists of several lengths
        raise InputTypeError(f"vectors to compare must be an array [n, dimension] ({error}); {_REMEDY}") from error
    if array.dtype.kind not in "fiu":
        raise InputTypeError(f"vectors to compare must be numbers, found an array of {array.dtype}; {_REMEDY}")
    if not np.isfinite(array).all():
        raise InputValueError(f"vectors to compare must be finite, found NaN or infinity; {_REMEDY}")
    if array.ndim > 2:
        raise InputValueError(f"vectors to compare must be [n, dimension], found {list(array.shape)}; {_REMEDY}")
    return array


def _cosine(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = np.clip(normalise(scaled(a)) @ normalise(scaled(b)).T, -1, 1)
    return cosines


def _cosine_of_pairs(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = np.clip((normalise(scaled(a)) * normalise(scaled(b))).sum(axis=-1), -1, 1)
    return cosines


def _dot(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    products: NDArray[np.float32] = a.astype(np.float32) @ b.astype(np.float32).T
    return products


def _dot_of_pairs(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    products: NDArray[np.float32] = (a.astype(np.float32) * b.astype(np.float32)).sum(axis=-1)
    return products


def _euclidean_of_pairs(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    squares = np.square(a.astype(np.float32) - b.astype(np.float32)).sum(axis=-1)
    distances: NDArray[np.float32] = -np.sqrt(squares)
    return distances


def _manhattan_of_pairs(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    distances: NDArray[np.float32] = -np.abs(a.astype(np.float32) - b.astype(np.float32)).sum(axis=-1)
    return distances


Measure = Callable[["NDArray[Any]", "NDArray[Any]"], "NDArray[np.float32]"]


def _of_all(of_pairs: Measure) -> Measure:
    """Make a measure of all pairs from one of given pairs, some rows at a time.

    The measure is computed from differences: by products, as in |a|² - 2ab + |b|², small distances would lose digits.
    """

    def of_all(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
        similarities = np.empty((len(a), len(b)), np.float32)
        rows = max(1, _BLOCK // max(1, b.size))
        for start in range(0, len(a), rows):
            similarities[start : start + rows] = of_pairs(a[start : start + rows, None], b[None])
        return similarities

    return of_all


_PAIRWISE: Mapping[Similarity, Measure] = {
    "cosine": _cosine_of_pairs,
    "dot": _dot_of_pairs,
    "euclidean": _euclidean_of_pairs,
    "manhattan": _manhattan_of_pairs,
}
_MEASURES: Mapping[Similarity, Measure] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _of_all(_euclidean_of_pairs),
    "manhattan": _of_all(_manhattan_of_pairs),
}
