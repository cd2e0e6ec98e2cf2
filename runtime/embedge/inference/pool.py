"""Hidden states to vectors: pool, truncate, normalise; and the small output types. Pure numpy.

Squares of small numbers are zero here, which is meant: who calls has numpy's errors ignored, see ``errstate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from embedge.bundle.manifest import Pooling
from embedge.errors import warn
from embedge.inference.errstate import own_errstate
from embedge.inference.options import RANGED, OutputPrecision

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 4096  # converted together
# Squares below the least normal float32 have lost digits; a sum of so few that it is no larger may consist of those.
_LEAST_SQUARE = np.float32(2**24) * np.finfo(np.float32).tiny
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

    Raises:
        FloatingPointError: one holds NaN or infinity.

    >>> normalise(np.array([[3, 4], [0, 0]], np.float32)).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    # A sum over the last axis, not BLAS: its order does not depend on how many rows there are.
    squares = np.square(vectors).sum(axis=-1, keepdims=True)
    # Each reduction takes a microsecond, and NaN is neither above nor below.
    least, most = (reduce(squares, axis=None, initial=1) for reduce in (np.minimum.reduce, np.maximum.reduce))
    if not (least > _LEAST_SQUARE and most < np.inf):
        return _normalise_extremes(vectors, squares)
    unit: NDArray[np.float32] = vectors / np.sqrt(squares)
    return unit


def _normalise_extremes(vectors: NDArray[np.float32], squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where squares of some vectors are no float32. All other rows keep the bits that they have without those."""
    if not np.isfinite(vectors).all():
        raise FloatingPointError("NaN or infinity in a vector")
    ordinary = (squares > _LEAST_SQUARE) & (squares < np.inf)
    vectors = np.where(ordinary, vectors, scaled(vectors))
    lengths = np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True))
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def scaled(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Each vector divided by its largest element: the square of 1e30 is no float32, that of 1e-30 is zero."""
    wide = vectors.astype(np.result_type(vectors, np.float32), copy=False)  # the size of -128 is no int8
    largest = np.abs(wide).max(axis=-1, keepdims=True, initial=0)
    found: NDArray[np.float32] = (wide / np.where(largest > 0, largest, 1)).astype(np.float32)
    return found


@own_errstate
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


@own_errstate
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
