"""Statistics of the rows that enter a linear layer."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 4096  # rows whose products are added up at once
_BLOCK_COLUMNS = 512  # columns of the blocks of a covariance

Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """The inputs of one linear layer on the calibration texts. A row is the input for one token.

    Attributes:
        mean: the mean of each input channel, float32 [inputs].
        covariance: the covariance of the input channels, float32 [inputs, inputs].
        rows: every n-th row, float32 [n, inputs].
        lowest: the smallest value of each input channel over all rows, float32 [inputs].
        highest: the largest value of each input channel over all rows, float32 [inputs].

    ``lowest`` and ``highest`` include the rows of the range texts (see ``calibrate``); the others do not.
    """

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    rows: NDArray[np.float32]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    def smoothed(self, shift: NDArray[np.float32], scale: NDArray[np.float32]) -> Self:
        """Return the statistics of ``(row - shift) / scale`` for each row; both arguments are [inputs]."""
        return type(self)(
            mean=(self.mean - shift) / scale,
            covariance=self.covariance / (scale[:, None] * scale),
            rows=(self.rows - shift) / scale,
            lowest=(self.lowest - shift) / scale,
            highest=(self.highest - shift) / scale,
        )


class Moments:
    """Adds up rows for their mean, covariance and range, and records every n-th.

    The sums are of differences to the first block's mean. Sums of the rows themselves would lose digits in float32.
    They are added block by block: one large matrix product takes less time than many small ones.

    Args:
        stride: n.
    """

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._count = 0
        self._sample: list[Rows] = []
        self._waiting: list[Rows] = []  # rows that are not yet in the sums
        self._waiting_count = 0
        self._centre: Rows | None = None

    def add(self, rows: Rows) -> None:
        """Add rows, [rows, inputs]."""
        if not self._count:
            self._lowest, self._highest = rows[0], rows[0]
        # The stride goes on across batches.
        self._sample.append(rows[-self._count % self._stride :: self._stride].copy())
        self._count += len(rows)
        self.extend_range(rows)
        self._waiting.append(rows)
        self._waiting_count += len(rows)
        if self._waiting_count >= _BLOCK_ROWS:
            self._add_block()

    def extend_range(self, rows: Rows) -> None:
        """Extend ``lowest`` and ``highest`` by more rows."""
        self._lowest = np.minimum(self._lowest, rows.min(axis=0))
        self._highest = np.maximum(self._highest, rows.max(axis=0))

    def activations(self) -> Activations:
        """Return the statistics of all rows so far."""
        self._add_block()
        offset = np.divide(self._first, self._count)
        return Activations(
            mean=self._centre + offset,
            covariance=_symmetric(self._second, offset, self._count),
            rows=np.concatenate(self._sample),
            lowest=self._lowest,
            highest=self._highest,
        )

    def _add_block(self) -> None:
        """Add the waiting rows to the sums. Of the products, only the blocks on and above the diagonal are computed."""
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting)
        self._waiting, self._waiting_count = [], 0
        if self._centre is None:
            self._centre = rows.mean(axis=0)
            self._first = np.zeros_like(self._centre)
            self._second = np.zeros((rows.shape[1], rows.shape[1]), np.float32)
        rows -= self._centre
        self._first += rows.sum(axis=0)
        for part in _column_blocks(rows.shape[1]):
            self._second[part, part.start :] += rows[:, part].T @ rows[:, part.start :]


def _column_blocks(columns: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK_COLUMNS, columns)) for start in range(0, columns, _BLOCK_COLUMNS)]


def _symmetric(upper: Rows, offset: Rows, count: int) -> Rows:
    """Return the covariance from the sums of products, in which the blocks below the diagonal are missing; in place."""
    upper /= count
    for part in _column_blocks(len(offset)):
        upper[part, part.start :] -= np.multiply.outer(offset[part], offset[part.start :])
        upper[part.stop :, part] = upper[part, part.stop :].T
    return upper
