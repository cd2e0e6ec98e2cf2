"""Texts of several requests in one batch: their tokens joined, and the output given to each request's collector."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from embedge.inference.collectors import Outputs, Rows
from embedge.inference.engine import Engine
from embedge.inference.plan import Batch
from embedge.inference.scheduler.waiting import Piece
from embedge.inference.token_batch import TokenBatch
from embedge.inference.tokens import Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run_pieces(engine: Engine, pieces: Sequence[Piece], *, one_core: bool) -> None:
    """Run texts, and store the results in their requests' collectors.

    Args:
        engine: runs them.
        pieces: all planned batches of one request; with ``one_core``, texts that may share a batch, of any requests.
        one_core: whether to run on one core, or on as many as are free.

    Raises:
        BundleError: the graph fails, or gives NaN or infinity.
    """
    first = pieces[0].chunk
    if len(pieces) == 1 or not one_core:
        plan: Sequence[Batch] = [Batch(piece.tokens, tuple(piece.members)) for piece in pieces]
        collector, advance = first.request.job.collector, first.request.advance
        engine.run_batches(first.tokens, plan, collector, start=first.start, advance=advance, one_core=one_core)
        return
    tokens = join_tokens(pieces)
    plan = engine.schedule.plan_for_slot(tokens.counts.tolist(), first.request.job.options)
    engine.run_batches(tokens, plan, SharedCollector(pieces), one_core=one_core)


def join_tokens(pieces: Sequence[Piece]) -> Tokens:
    """Return the tokens of the texts of several pieces, one piece after another."""
    values: list[NDArray[np.integer]] = []
    for piece in pieces:
        tokens = piece.chunk.tokens
        for member in piece.members:
            values.append(tokens.values[tokens.starts[member] : tokens.starts[member + 1]])
    starts = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(ids) for ids in values], out=starts[1:])
    return Tokens(np.concatenate(values), starts, [])


class SharedCollector:
    """Makes the results of a batch together, and gives each request's collector its own.

    Args:
        pieces: texts of several requests, which want the same outputs; their positions are those of ``join_tokens``.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.outputs = pieces[0].chunk.request.job.collector.outputs
        self.conversion: Hashable = None
        self._owners = [(piece.chunk, member) for piece in pieces for member in piece.members]

    def rows(self, batch: TokenBatch, values: Outputs) -> list[Rows]:
        """Return the result of each text of a batch, in a sequence of its own; see ``Collector``."""
        made: dict[Hashable, Rows] = {}
        rows: list[Rows] = []
        for row, position in enumerate(batch.members):
            collector = self._owners[position][0].request.job.collector
            conversion = collector.conversion
            if conversion not in made:
                made[conversion] = collector.rows(batch, values)
            rows.append(made[conversion][row : row + 1])
        return rows

    def keep(self, members: Sequence[int], rows: Rows) -> None:
        """Give the results of some texts to their requests; see ``Collector``."""
        for position, row in zip(members, rows, strict=True):
            chunk, member = self._owners[position]
            chunk.request.job.collector.keep((chunk.start + member,), row)
            chunk.request.advance(1)

    def result(self) -> None:
        """Return nothing: the requests' collectors have the results."""
