"""Hidden states to vectors: pool and normalise them, and convert them to smaller types. Pure numpy.

The square of a small number may underflow to zero, which is intended. Whoever calls ``pool`` and ``normalise`` must
ignore numpy's floating-point errors; see ``errstate``.
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

_ROWS = 4096  # vectors that are converted together
# A square below the smallest normal float32 has lost digits, and a sum of squares up to this limit may consist of such
# squares.
_LEAST_SQUARE = np.float32(2**24) * np.finfo(np.float32).tiny
_FEW = 100  # vectors; sentence-transformers warns below the same number


def pool(hidden: NDArray[np.float32], pooling: Pooling, counts: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Return one vector for each text, from the hidden states of its tokens.

    Args:
        hidden: float32 [batch, tokens, dimension]; or [batch, 1, dimension] if the graph gives only what pooling reads.
        pooling: ``"cls"`` takes the first token, ``"mean"`` the mean of all tokens, ``"last"`` the last token.
        counts: number of tokens of each text, int64 [batch]; what follows them is padding. None if no text is padded.

    Returns:
        float32 [batch, dimension].

    >>> hidden = np.array([[[1, 2], [3, 6]]], np.float32)
    >>> [pool(hidden, p).tolist() for p in ("cls", "mean", "last")]
    [[[1.0, 2.0]], [[2.0, 4.0]], [[3.0, 6.0]]]
    >>> [pool(hidden, p, np.int64([1])).tolist() for p in ("cls", "mean", "last")]
    [[[1.0, 2.0]], [[1.0, 2.0]], [[1.0, 2.0]]]
    """
    if pooling == "cls":
        return hidden[:, 0]
    if counts is None or hidden.shape[1] == 1:
        if pooling == "last":
            return hidden[:, -1]
        mean: NDArray[np.float32] = hidden.mean(axis=1)
        return mean
    if pooling == "last":
        return hidden[np.arange(len(hidden)), counts - 1]
    # Row by row: padding may hold anything, NaN too, and the sum of the rows together would be no faster.
    return np.stack([row[:count].mean(axis=0) for row, count in zip(hidden, counts.tolist(), strict=True)])


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors to length 1 (L2), float32 [..., dimension]; a zero vector stays zero.

    Raises:
        FloatingPointError: a vector holds NaN or infinity.

    >>> normalise(np.array([[3, 4], [0, 0]], np.float32)).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    # A sum by numpy, not a product by BLAS: the order of its additions does not depend on the number of rows.
    squares = np.square(vectors).sum(axis=-1, keepdims=True)
    # These two reductions of a microsecond each are enough: they find NaN, too, because every comparison with it is
    # false.
    least, most = (reduce(squares, axis=None, initial=1) for reduce in (np.minimum.reduce, np.maximum.reduce))
    if not (least > _LEAST_SQUARE and most < np.inf):
        return _normalise_extremes(vectors, squares)
    unit: NDArray[np.float32] = np.divide(vectors, np.sqrt(squares))
    return unit


def _normalise_extremes(vectors: NDArray[np.float32], squares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors of which some have squares that float32 cannot hold; no bit of the other rows changes."""
    if not np.isfinite(vectors).all():
        raise FloatingPointError("NaN or infinity in a vector")
    ordinary = (squares > _LEAST_SQUARE) & (squares < np.inf)
    vectors = np.where(ordinary, vectors, scaled(vectors))
    lengths = np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True))
    unit: NDArray[np.float32] = np.divide(vectors, np.maximum(lengths, np.finfo(np.float32).tiny))
    return unit


def scaled(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Divide each vector by its largest element: in float32, 1e30 squared overflows, and 1e-30 squared is zero."""
    wide = vectors.astype(np.result_type(vectors, np.float32), copy=False)  # int8 cannot hold abs(-128)
    largest = np.abs(wide).max(axis=-1, keepdims=True, initial=0)
    scaled_vectors: NDArray[np.float32] = (wide / np.where(largest > 0, largest, 1)).astype(np.float32)
    return scaled_vectors


@own_errstate
def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-x)) of each element, float32; exp never overflows.

    >>> sigmoid(np.array([0, 100, -100], np.float32)).tolist()
    [0.5, 1.0, 3.783505853677006e-44]
    """
    small = np.exp(-np.abs(logits))
    scores: NDArray[np.float32] = np.where(logits >= 0, 1, small) / (1 + small)
    return scores.astype(np.float32)


def convert(vectors: NDArray[np.float32], precision: OutputPrecision) -> NDArray[Any]:
    """Convert vectors to a smaller type, as sentence-transformers' ``quantize_embeddings`` does.

    Args:
        vectors: float32 [n, dimension].
        precision: ``"float32"`` returns the vectors unchanged. ``"int8"`` and ``"uint8"`` have 256 steps between the
            smallest and the largest value of each dimension *in these vectors*. ``"binary"`` and ``"ubinary"`` have one
            bit for each dimension (value > 0), eight packed into a byte, as int8 (the byte minus 128) or uint8.

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
        message = f"{precision} vectors are scaled by each dimension's range in one call, and {len(vectors)} are few"
        warn(f"{message}; encode at least {_FEW} texts together, or use float32 or binary", UserWarning)
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    step = (high - low) / np.float32(255)
    step[step == 0] = 1  # a dimension with one value has no range; any step gives the lowest code
    codes = np.empty(vectors.shape, dtype)
    for first in range(0, len(vectors), _ROWS):  # all rows at once would take three more copies in float32
        rows = slice(first, first + _ROWS)
        steps = np.clip(np.floor((vectors[rows] - low) / step), 0, 255)
        codes[rows] = steps - 128 if precision == "int8" else steps
    return codes
