"""How the texts of a call become batches for a GPU: padded, and tokenised while the card runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from embedge.inference.device.padded_plan import plan_padded_batches
from embedge.inference.device.pipeline import chunk_by_characters, run_ahead
from embedge.inference.options import CallOptions
from embedge.inference.plan import Batch

Chunk = TypeVar("Chunk")
Prepared = TypeVar("Prepared")

_AHEAD = 2  # chunks that are prepared ahead of the one that runs
# Tokens of waiting requests that are planned together: some two batches. Then texts of similar length meet, and a
# request that comes meanwhile waits for two batches at most.
_PLANNED_TOGETHER = 32_768


@dataclass(frozen=True, slots=True)
class DeviceSchedule:
    """Tokenises chunk after chunk on a thread while the card runs, and pads the texts of a batch to one length.

    Attributes:
        max_tokens: the model's limit.
    """

    max_tokens: int

    @property
    def window(self) -> int:
        """How many texts of a stream to plan together; so many short ones have some 64k tokens."""
        return 4096

    @property
    def enough(self) -> int:
        """The tokens of some two batches."""
        return _PLANNED_TOGETHER

    def chunks(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield chunks of some batches each, of which the first is small."""
        return chunk_by_characters(lengths)

    def prepared(
        self, chunks: Iterator[Chunk], prepare: Callable[[Chunk], Prepared]
    ) -> Generator[Prepared, None, None]:
        """Yield ``prepare(chunk)`` of each chunk; later chunks are prepared meanwhile."""
        return run_ahead(chunks, prepare, ahead=_AHEAD)

    def plan(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return padded batches of texts of similar length."""
        return plan_padded_batches(
            token_counts,
            max_tokens=self.max_tokens,
            batch_tokens=options.batch_tokens,
            batch_size=options.batch_size,
        )

    def plan_for_slot(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return the same batches as ``plan``."""
        return self.plan(token_counts, options)

    def shared_by(self, tokens: int) -> int:
        """Return 0: any texts may share a batch, which is padded."""
        return 0

    def room(self, tokens: int, options: CallOptions) -> int:
        """Return the tokens of some two batches."""
        return _PLANNED_TOGETHER
