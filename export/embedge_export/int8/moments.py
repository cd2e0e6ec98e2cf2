"""Statistics of the rows that enter a linear layer."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


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

    The sums are of differences to the first batch's mean. Sums of the rows themselves would lose digits in float32.

    Args:
        stride: n.
    """

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._count = 0
        self._sample: list[NDArray[np.float32]] = []

    def add(self, rows: NDArray[np.float32]) -> None:
        """Add rows, [rows, inputs]."""
        if not self._count:
            self._centre = rows.mean(axis=0)
            self._first = np.zeros_like(self._centre)
            self._second = np.zeros((rows.shape[1], rows.shape[1]), np.float32)
            self._lowest, self._highest = rows[0], rows[0]
        # The stride goes on across batches.
        self._sample.append(rows[-self._count % self._stride :: self._stride].copy())
        self._count += len(rows)
        self.extend_range(rows)
        centred = rows - self._centre
        self._first += centred.sum(axis=0)
        self._second += centred.T @ centred

    def extend_range(self, rows: NDArray[np.float32]) -> None:
        """Extend ``lowest`` and ``highest`` by more rows."""
        self._lowest = np.minimum(self._lowest, rows.min(axis=0))
        self._highest = np.maximum(self._highest, rows.max(axis=0))

    def activations(self) -> Activations:
        """Return the statistics of all rows so far."""
        offset = np.divide(self._first, self._count)
        covariance = np.divide(self._second, self._count) - np.multiply.outer(offset, offset)
        return Activations(
            mean=self._centre + offset,
            covariance=covariance,
            rows=np.concatenate(self._sample),
            lowest=self._lowest,
            highest=self._highest,
        )
