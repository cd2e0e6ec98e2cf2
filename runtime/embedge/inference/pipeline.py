"""Tokenise on a thread while the session runs: on a GPU, tokenising takes as long as the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from embedge.background import BackgroundTask

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

# Characters of a chunk: some 16k tokens of English, as many as a batch has. The first chunk is a quarter of that,
# because the card waits for it.
_CHARACTERS = 65_536
_FIRST_CHARACTERS = _CHARACTERS // 4


def chunk_by_characters(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and end position of each chunk of texts, of which these are the lengths in characters.

    >>> list(chunk_by_characters([10_000, 10_000, 40_000, 40_000, 5]))
    [(0, 2), (2, 4), (4, 5)]
    """
    first = characters = 0
    for end, length in enumerate(lengths, 1):
        characters += length
        if characters >= (_FIRST_CHARACTERS if first == 0 else _CHARACTERS):
            yield first, end
            first, characters = end, 0
    if first < len(lengths):
        yield first, len(lengths)


def run_ahead(chunks: Iterator[Chunk], function: Callable[[Chunk], Result], *, ahead: int) -> Iterator[Result]:
    """Yield ``function(chunk)`` of each chunk, in order, while later ones are computed on threads of their own.

    The chunks are taken on the caller's thread, because an iterator may belong to it (a cursor of sqlite3 does). An
    error is raised where the result would have been, after the results of all chunks before it.

    Args:
        chunks: the chunks.
        function: called on another thread.
        ahead: how many chunks, at most, are being computed or waiting for the caller beyond the one that he has.
    """
    waiting: deque[BackgroundTask[Result]] = deque()
    failure: Exception | None = None
    try:
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                break
            except Exception as error:  # raised when the chunks before it are done
                failure = error
                break
            waiting.append(BackgroundTask(partial(function, chunk)))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for task in waiting:  # the caller stopped early; no thread outlives the call
            task.wait()
    if failure is not None:
        raise failure
