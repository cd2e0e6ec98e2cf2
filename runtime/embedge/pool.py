"""Hidden states to vectors: pool, truncate, normalise; and the small output types. Pure numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from embedge.errors import TextValueError, warn
from embedge.options import RANGED, OutputPrecision

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pooling = Literal["cls", "mean", "last"]
_ROWS = 4096  # converted together
_FEW = 100  # sentence-transformers warns below this many vectors, too.


def pool(hidden: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float32]:
    """One vector a text from its tokens' hidden states.

    Args:
        hidden: float32 [batch, tokens, dimension], no padding among the tokens.
        pooling: ``"cls"`` takes the first token, ``"mean"`` the average, ``"last"`` the last token.

    Returns:
        float32 [batch, dimension].

    >>> hidden = np.array([[[1, 2], [3, 6]]], np.float32)
    >>> [pool(hidden, p).tolist() for p in ("cls", "mean", "last")]
    [[[1.0, 2.0]], [[2.0, 4.0]], [[3.0, 6.0]]]
    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[:, -1]
    mean: NDArray[np.float32] = hidden.mean(axis=1)
    return mean


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length 1 (L2): float32 [..., dimension]. A zero vector stays zero.

    >>> normalise(np.array([[3, 4], [0, 0]], np.float32)).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    # A sum over the last axis, not BLAS: its order does not depend on how many rows there are.
    lengths = np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True))
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)) of each, float32; exp never overflows.

    >>> sigmoid(np.array([0, 100, -100], np.float32)).tolist()
    [0.5, 1.0, 3.783505853677006e-44]
    """
    small = np.exp(-np.abs(logits))
    found: NDArray[np.float32] = np.where(logits >= 0, 1, small) / (1 + small)
    return found.astype(np.float32)


def convert(vectors: NDArray[np.float32], precision: OutputPrecision) -> NDArray[Any]:
    """Vectors in a smaller type, with the semantics of sentence-transformers' ``quantize_embeddings``.

    Args:
        vectors: float32 [n, dimension].
        precision: ``"float32"`` as is. ``"int8"`` and ``"uint8"``: 256 steps between the smallest and the largest value
            of each dimension in *this set*. ``"binary"`` and ``"ubinary"``: one bit a dimension (value > 0), packed
            eight to a byte, as int8 (the byte less 128) or uint8.

    Returns:
        [n, dimension] float32, int8 or uint8; or [n, ceil(dimension / 8)] int8 or uint8.
    """
    if precision == "float32":
        return vectors
    if precision in RANGED:
        return _ranged(vectors, precision)
    packed = np.packbits(vectors > 0, axis=-1)
    return packed if precision == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)


def _ranged(vectors: NDArray[np.float32], precision: OutputPrecision) -> NDArray[Any]:
    dtype = np.int8 if precision == "int8" else np.uint8
    if len(vectors) == 0:
        return vectors.astype(dtype)
    if len(vectors) < _FEW:
        message = f"{precision} output takes each dimension's range from the vectors given, and {len(vectors)} are few"
        warn(f"{message}: encode at least {_FEW} together, or use float32 or binary", UserWarning)
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    step = (high - low) / np.float32(255)
    step[step == 0] = 1  # a dimension that is the same everywhere has no range; any step gives the lowest code
    codes = np.empty(vectors.shape, dtype)
    for first in range(0, len(vectors), _ROWS):  # not all at once: there would be three copies of them in float32
        rows = slice(first, first + _ROWS)
        steps = np.clip(np.floor((vectors[rows] - low) / step), 0, 255)
        codes[rows] = steps - 128 if precision == "int8" else steps
    return codes


def similarity(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
    """Cosine similarity of every vector of one set to every vector of another.

    Args:
        first: [n, dimension], or [dimension] for one.
        second: [m, dimension], or [dimension] for one.

    Returns:
        float32 [n, m], between -1 and 1.

    Raises:
        TextValueError: the two sets differ in dimension.

    >>> similarity(np.array([1, 0]), np.array([[2, 0], [0, 5]])).tolist()
    [[1.0, 0.0]]
    """
    a, b = (_to_unit_range(np.atleast_2d(np.asarray(x))) for x in (first, second))
    if a.shape[-1] != b.shape[-1]:
        raise TextValueError(f"vectors to compare need one dimension, found {a.shape[-1]} and {b.shape[-1]}")
    cosines: NDArray[np.float32] = np.clip(normalise(a) @ normalise(b).T, -1, 1)
    return cosines


def similarity_pairwise(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
    """Cosine similarity of every vector of one set to the one in its place in another.

    Args:
        first: [n, dimension], or [dimension] for one.
        second: as many of the same dimension.

    Returns:
        float32 [n], between -1 and 1.

    Raises:
        TextValueError: the two sets differ in number or dimension.

    >>> similarity_pairwise(np.array([[1, 0], [0, 3]]), np.array([[2, 0], [5, 0]])).tolist()
    [1.0, 0.0]
    """
    a, b = (_to_unit_range(np.atleast_2d(np.asarray(x))) for x in (first, second))
    if a.shape != b.shape:
        raise TextValueError(f"vectors to compare in pairs need one shape, found {list(a.shape)} and {list(b.shape)}")
    cosines: NDArray[np.float32] = np.clip((normalise(a) * normalise(b)).sum(axis=-1), -1, 1)
    return cosines


def _to_unit_range(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Each vector scaled so that its largest element is 1: the square of 1e30 is no float32, that of 1e-30 is zero."""
    wide = vectors.astype(np.result_type(vectors, np.float32), copy=False)  # the size of -128 is no int8
    largest = np.abs(wide).max(axis=-1, keepdims=True, initial=0)
    scaled: NDArray[np.float32] = (wide / np.where(largest > 0, largest, 1)).astype(np.float32)
    return scaled
