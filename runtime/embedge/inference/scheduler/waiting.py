"""The texts that wait for a core: which of them run next, and which of them share a batch. It has no threads."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from embedge.inference.plan import Batch
from embedge.inference.schedule import Schedule
from embedge.inference.scheduler.request import Chunk, Request

# Short texts run before long ones, but nobody starves. Time is counted in tokens that were taken from the queue. A
# request's next text is due at the request's arrival plus this many times the tokens of the request up to and with this
# text, and the text that is due first runs first (virtual finish times, as in weighted fair queueing: Demers, Keshav
# and Shenker 1989, "Analysis and simulation of a fair queueing algorithm", SIGCOMM). So a text of 500 tokens lets
# shorter texts pass until 2,000 tokens more have run, and a request of 10,000 texts does not hold up one of one text.
_PATIENCE = 4

Kind = tuple[
    tuple[str, ...], int | None, int | None, int
]  # outputs, batch_tokens, batch_size, and what the schedule says


@dataclass(slots=True, eq=False)
class Piece:
    """Some texts of one request, of one planned batch.

    Attributes:
        chunk: the texts of the request that were tokenised together.
        tokens: the number of tokens of a row.
        members: positions in the chunk's tokens.
        total_tokens: the number of tokens of all its texts, without padding.
    """

    chunk: Chunk
    tokens: int
    members: Sequence[int]
    total_tokens: int

    def split(self, rows: int) -> Piece:
        """Return a piece of the first rows, which leave this one."""
        members, rest = self.members[:rows], self.members[rows:]
        total = self.total_tokens if not rest else count_tokens(self.chunk, members)
        self.members, self.total_tokens = rest, self.total_tokens - total
        return Piece(self.chunk, self.tokens, members, total)


def count_tokens(chunk: Chunk, members: Sequence[int]) -> int:
    """Return the number of tokens of some texts of a chunk, without padding."""
    starts = chunk.tokens.starts
    if len(members) == 1:  # most requests to a server; numpy's arrays would take ten times as long
        return int(starts[members[0] + 1] - starts[members[0]])
    positions = np.array(members, np.intp)
    return int((starts[positions + 1] - starts[positions]).sum())


@dataclass(slots=True)
class _Turn:
    """What a request with waiting texts has had: when it came, and its tokens that were taken since."""

    arrival: int
    taken: int = 0
    pieces: dict[Piece, None] = field(default_factory=dict)  # those that wait, an ordered set


class WaitingTexts:
    """The queue of one scheduler, whose lock its caller holds.

    Attributes:
        texts: how many texts wait.
        tokens: how many tokens they have.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.texts = 0
        self.tokens = 0
        self._schedule = schedule
        self._clock = 0  # tokens that were taken so far
        self._turns: dict[Request, _Turn] = {}
        self._kinds: dict[Kind, list[tuple[int, int, Piece]]] = {}  # heaps, by when a piece is due
        self._numbers = count()  # of equal ones, the piece that came first is first

    def __bool__(self) -> bool:
        return self.texts > 0

    def add(self, chunk: Chunk, plan: Sequence[Batch]) -> None:
        """Add the batches of a part of a request."""
        turn = self._turns.setdefault(chunk.request, _Turn(self._clock))
        for batch in plan:
            piece = Piece(chunk, batch.tokens, batch.members, count_tokens(chunk, batch.members))
            turn.pieces[piece] = None
            heap = self._kinds.setdefault(self._kind(piece), [])
            heapq.heappush(heap, (self._due(piece), next(self._numbers), piece))
            self._count(piece, 1)

    def remove(self, request: Request) -> None:
        """Remove a request's texts."""
        turn = self._turns.pop(request, None)
        for piece in turn.pieces if turn else ():
            self._count(piece, -1)
            piece.members = ()  # its heap drops it later

    def take(self, *, share: bool) -> list[Piece]:
        """Take the texts that run next; empty if none waits.

        Args:
            share: whether to add texts of other batches and requests that may share a batch with them.
        """
        best: tuple[tuple[int, int], Kind] | None = None
        for kind in list(self._kinds):
            if (first := self._first(kind)) is None:
                del self._kinds[kind]
            elif best is None or first[:2] < best[0]:
                best = first[:2], kind
        return [] if best is None else self._take_of(best[1], share=share)

    def take_only_request(self, *, fewer_than: int) -> list[Piece]:
        """Take all batches if one request has them all and they are fewer than ``fewer_than``; else none."""
        if len(self._turns) != 1:
            return []
        waiting = next(iter(self._turns.values())).pieces
        if len(waiting) >= fewer_than:
            return []
        return [self._take(piece, len(piece.members)) for piece in list(waiting)]

    def _take_of(self, kind: Kind, *, share: bool) -> list[Piece]:
        taken: list[Piece] = []
        room = 0
        while (first := self._first(kind)) is not None:
            piece = first[2]
            if not taken:
                room = self._schedule.room(piece.tokens, piece.chunk.request.job.options)
            # The room is of tokens with padding at most: a batch in which it is used up gets no more.
            rows = min(len(piece.members), max(0, room) // piece.tokens) if taken else len(piece.members)
            if not rows or (taken and not share):
                break
            taken.append(self._take(piece, rows))
            room -= taken[-1].total_tokens
        return taken

    def _take(self, piece: Piece, rows: int) -> Piece:
        """Take the first rows of a piece; the others wait."""
        turn = self._turns[piece.chunk.request]
        taken = piece.split(rows)
        self._count(taken, -1)
        self._clock += taken.total_tokens
        turn.taken += taken.total_tokens
        if not piece.members:
            del turn.pieces[piece]
        if not turn.pieces:
            del self._turns[piece.chunk.request]
        return taken

    def _first(self, kind: Kind) -> tuple[int, int, Piece] | None:
        """Return the piece of a kind that is due first; None if there is none."""
        heap = self._kinds[kind]
        while heap:
            due, number, piece = heap[0]
            if not piece.members:
                heapq.heappop(heap)
            elif (now := self._due(piece)) > due:  # the request had other texts taken since
                heapq.heapreplace(heap, (now, number, piece))
            else:
                return heap[0]
        return None

    def _due(self, piece: Piece) -> int:
        turn = self._turns[piece.chunk.request]
        return turn.arrival + _PATIENCE * (turn.taken + piece.tokens)

    def _kind(self, piece: Piece) -> Kind:
        job = piece.chunk.request.job
        options = job.options
        shared_by = self._schedule.shared_by(piece.tokens)
        return job.collector.outputs, options.batch_tokens, options.batch_size, shared_by

    def _count(self, piece: Piece, sign: int) -> None:
        """Count a piece that comes (1) or leaves (-1)."""
        self.texts += sign * len(piece.members)
        self.tokens += sign * piece.total_tokens
