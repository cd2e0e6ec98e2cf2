"""A matrix with many rows, such as the word embeddings, which is read in slices and is never in memory as a whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_SLICE = 1 << 22  # elements of a slice: 16 MB of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A matrix that is read in slices of rows, as often as needed.

    Attributes:
        shape: rows and columns.
        dtype: the type of its elements.
        read: returns the rows from the first argument up to the second, [rows, columns].
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: Callable[[int, int], NDArray[Any]]

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """Return the table of a matrix that is in memory or mapped."""
        rows, columns = values.shape
        return cls(shape=(rows, columns), dtype=values.dtype, read=lambda start, end: values[start:end])

    @property
    def nbytes(self) -> int:
        """The size of all elements, in bytes."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def slices(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the number of the first row of each slice, and the slice."""
        rows, columns = self.shape
        step = max(1, _SLICE // columns)
        for start in range(0, rows, step):
            yield start, self.read(start, min(start + step, rows))

    def mapped(self, change: Callable[[NDArray[Any]], NDArray[Any]], dtype: type[np.generic]) -> Self:
        """Return the table of the changed rows; ``change`` gets a slice, and returns as many rows of type ``dtype``."""
        return type(self)(
            shape=self.shape, dtype=np.dtype(dtype), read=lambda start, end: change(self.read(start, end))
        )

    def whole(self) -> NDArray[Any]:
        """Return the whole matrix."""
        values = np.empty(self.shape, self.dtype)
        for start, rows in self.slices():
            values[start : start + len(rows)] = rows
        return values

    def rows(self, numbers: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return the rows with these numbers, [numbers, columns].

        >>> Table.of(np.float32([[1], [2], [3]])).rows(np.array([2, 0, 2])).tolist()
        [[3.0], [1.0], [3.0]]
        """
        found = np.empty((len(numbers), self.shape[1]), self.dtype)
        for start, rows in self.slices():
            here = (numbers >= start) & (numbers < start + len(rows))
            found[here] = rows[numbers[here] - start]
        return found
