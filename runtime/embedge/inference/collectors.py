"""Collectors: they receive the graph's output batch by batch, and return the results in input order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from embedge.bundle.manifest import HIDDEN, SCORES, Pooling
from embedge.inference.options import RANGED, OutputPrecision, VectorOptions
from embedge.inference.pool import convert, normalise, pool
from embedge.inference.token_batch import TokenBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The outputs of one run by name, each float32 [batch, ...].
Outputs: TypeAlias = "Mapping[str, NDArray[np.float32]]"
Rows: TypeAlias = "Sequence[Any] | NDArray[Any]"  # one result for each text
Row = TypeVar("Row")
Result = TypeVar("Result", covariant=True)


class Collector(Protocol[Result]):
    """Stores the output of batches, which end in any order and on several threads, and returns the result of all.

    Attributes:
        outputs: names of the graph's outputs that it stores.
        conversion: what it makes of them. Collectors with the same outputs and conversion make the same rows.
    """

    outputs: tuple[str, ...]
    conversion: Hashable

    def rows(self, batch: TokenBatch, values: Outputs) -> Rows:
        """Return the result of each text of a batch.

        Args:
            batch: the batch; a collector of one request does not read its ``members``.
            values: the graph's outputs for it, each float32 [batch, ...]; what they have for padding is not read.

        Raises:
            FloatingPointError: a hidden state is NaN or infinity. Other outputs are finite.
        """

    def keep(self, members: Sequence[int], rows: Rows) -> None:
        """Store the results of some texts, by their positions in the input; no two threads store the same text."""

    def result(self) -> Result:
        """Return the result for all texts, in input order."""


class VectorCollector:
    """Pools, normalises and converts hidden states to vectors [count, ...] of ``options.precision``.

    A batch is converted when it ends, so that no second copy of all vectors is in memory. int8 and uint8 are the
    exception: they are scaled by the range of all vectors.
    """

    def __init__(self, count: int, options: VectorOptions, pooling: Pooling) -> None:
        self.outputs: tuple[str, ...] = (HIDDEN,)
        self._options = options
        self._pooling = pooling
        self._stored: OutputPrecision = "float32" if options.precision in RANGED else options.precision
        self.conversion: Hashable = (pooling, options.dimension, options.normalize, self._stored)
        empty = convert(np.empty((0, options.dimension), np.float32), self._stored)
        self._vectors = np.empty((count, *empty.shape[1:]), empty.dtype)

    def rows(self, batch: TokenBatch, values: Outputs) -> NDArray[Any]:
        """Return the vectors [batch, ...]; see ``Collector``."""
        vectors = pool(values[HIDDEN], self._pooling, batch.counts)[:, : self._options.dimension]
        if self._options.normalize:
            vectors = normalise(vectors)
        elif not np.isfinite(vectors).all():
            raise FloatingPointError("NaN or infinity in a vector")
        return convert(vectors, self._stored)

    def keep(self, members: Sequence[int], rows: Rows) -> None:
        """Store some vectors; see ``Collector``."""
        self._vectors[list(members)] = rows

    def result(self) -> NDArray[Any]:
        """Return the vectors [count, ...]."""
        return convert(self._vectors, self._options.precision) if self._options.precision in RANGED else self._vectors


class ScoreCollector:
    """A reranker's logits, float32 [count]."""

    def __init__(self, count: int) -> None:
        self.outputs: tuple[str, ...] = (SCORES,)
        self.conversion: Hashable = None
        self._scores = np.empty(count, np.float32)

    def rows(self, batch: TokenBatch, values: Outputs) -> NDArray[np.float32]:
        """Return the logits [batch]; see ``Collector``."""
        return values[SCORES][:, 0]

    def keep(self, members: Sequence[int], rows: Rows) -> None:
        """Store some logits; see ``Collector``."""
        self._scores[list(members)] = rows

    def result(self) -> NDArray[np.float32]:
        """Return the logits [count]."""
        return self._scores


class ListCollector(Generic[Row]):
    """A list with one result for each text, of whatever type.

    Args:
        count: number of texts.
        output: name of the graph's output; each output has one ``convert_row``.
        convert_row: makes the result of one text from its token ids [tokens] and its output [tokens, ...].
    """

    def __init__(
        self,
        count: int,
        output: str,
        convert_row: Callable[[NDArray[np.integer[Any]], NDArray[np.float32]], Row],
    ) -> None:
        self.outputs: tuple[str, ...] = (output,)
        self.conversion: Hashable = None
        self._output = output
        self._count = count
        self._convert_row = convert_row
        self._rows: dict[int, Row] = {}

    def rows(self, batch: TokenBatch, values: Outputs) -> list[Row]:
        """Return the results of one batch; see ``Collector``."""
        rows = values[self._output]
        counts = [batch.ids.shape[1]] * len(rows) if batch.counts is None else batch.counts.tolist()
        texts = zip(batch.ids, rows, counts, strict=True)
        return [self._convert_row(ids[:count], value[:count]) for ids, value, count in texts]

    def keep(self, members: Sequence[int], rows: Rows) -> None:
        """Store some results; see ``Collector``."""
        self._rows.update(zip(members, rows, strict=True))

    def result(self) -> list[Row]:
        """Return the results, one for each text."""
        return [self._rows[member] for member in range(self._count)]
