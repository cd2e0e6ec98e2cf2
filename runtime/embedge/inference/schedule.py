"""How the texts of a call become batches: for the cores of a CPU, all together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol, TypeVar

from embedge.inference.options import CallOptions
from embedge.inference.plan import Batch, plan_batches, rows_of_batch

Chunk = TypeVar("Chunk")
Prepared = TypeVar("Prepared")


class Schedule(Protocol):
    """When texts are tokenised, and how they are put into batches."""

    @property
    def window(self) -> int:
        """How many texts of a stream to plan together."""

    def chunks(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield the first and end position of each chunk of texts, whose lengths in characters are given."""

    def prepared(
        self, chunks: Iterator[Chunk], prepare: Callable[[Chunk], Prepared]
    ) -> Generator[Prepared, None, None]:
        """Yield ``prepare(chunk)`` of each chunk, in order: its tokens and its batches. Close it to end its threads."""

    def plan(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return the batches of one chunk."""

    def plan_for_slot(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return the batches of waiting texts that one slot runs, one batch after the other."""

    def shared_by(self, tokens: int) -> int:
        """Return a number that is the same for two token counts if texts of these may share a batch."""

    def room(self, tokens: int, options: CallOptions) -> int:
        """Return how many tokens of waiting requests, of which the first text has ``tokens``, to plan together."""

    @property
    def enough(self) -> int:
        """Tokens of waiting texts that are enough for a slot: it runs them before more requests are tokenised."""


class CpuSchedule:
    """Tokenises all texts, then puts texts of equal length into batches.

    The more texts there are, the more of them have the same length. A thread that tokenises ahead would gain nothing:
    tokenizers and the session both use all cores.
    """

    window = 1024
    enough = 512  # the budget of short texts

    def chunks(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield one chunk with all texts."""
        yield 0, len(lengths)

    def prepared(
        self, chunks: Iterator[Chunk], prepare: Callable[[Chunk], Prepared]
    ) -> Generator[Prepared, None, None]:
        """Yield ``prepare(chunk)`` of each chunk when the caller asks for it."""
        for chunk in chunks:
            yield prepare(chunk)

    def plan(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return batches of texts of equal token count."""
        return plan_batches(token_counts, batch_tokens=options.batch_tokens, batch_size=options.batch_size)

    def plan_for_slot(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return the same batches as ``plan``."""
        return self.plan(token_counts, options)

    def shared_by(self, tokens: int) -> int:
        """Return the token count: only texts of equal token count share a batch."""
        return tokens

    def room(self, tokens: int, options: CallOptions) -> int:
        """Return the tokens of one batch."""
        return tokens * rows_of_batch(tokens, batch_tokens=options.batch_tokens, batch_size=options.batch_size)
