"""Tokenise on a thread while the session runs: with a GPU, both take about as long."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import TypeVar

from embedge.background import BackgroundTask

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

# Characters of a chunk. The card waits for the first one, so it is small: some 4k tokens of English. Each one after it
# has twice as many, and takes about as long to tokenise as the card needs for the one before. The largest has some 64k
# tokens, so that there are several batches of texts of similar length.
_FIRST_CHARACTERS = 16_384
_CHARACTERS = 262_144


def chunk_by_characters(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and end position of each chunk of texts, of which these are the lengths in characters.

    >>> list(chunk_by_characters([10_000, 10_000, 20_000, 20_000, 5]))
    [(0, 2), (2, 4), (4, 5)]
    """
    first = characters = 0
    limit = _FIRST_CHARACTERS
    for end, length in enumerate(lengths, 1):
        characters += length
        if characters >= limit:
            yield first, end
            first, characters = end, 0
            limit = min(2 * limit, _CHARACTERS)
    if first < len(lengths):
        yield first, len(lengths)


def run_ahead(
    chunks: Iterator[Chunk], function: Callable[[Chunk], Result], *, ahead: int
) -> Generator[Result, None, None]:
    """Yield ``function(chunk)`` of each chunk, in order, while later ones are computed on another thread.

    They are computed one after the other: two at a time would only make the caller wait longer for the first.

    The chunks are taken on the caller's thread, because an iterator may belong to it (a cursor of sqlite3 does). An
    error is raised where the result would have been, after the results of all chunks before it.

    Close the generator if you stop before its end: this waits for its threads. An error's traceback may keep it open.

    Args:
        chunks: the chunks.
        function: called on another thread.
        ahead: how many chunks, at most, are computed or wait, beyond the one that the caller has.
    """
    failures: list[Exception] = []
    source = _until_failure(chunks, failures)
    first_two = list(islice(source, 2))
    if len(first_two) == 1:
        yield function(first_two[0])  # a thread would only take time
    else:
        yield from _run_on_thread(chain(first_two, source), function, ahead)
    if failures:
        raise failures[0]


def _until_failure(chunks: Iterator[Chunk], failures: list[Exception]) -> Iterator[Chunk]:
    """Yield the chunks; an error ends them, and is put into the list."""
    try:
        yield from chunks
    except Exception as error:
        failures.append(error)


def _run_on_thread(chunks: Iterator[Chunk], function: Callable[[Chunk], Result], ahead: int) -> Iterator[Result]:
    waiting: deque[BackgroundTask[Result]] = deque()
    try:
        for chunk in chunks:
            waiting.append(BackgroundTask(partial(_compute, function, chunk, waiting[-1] if waiting else None)))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for task in waiting:  # the caller stopped early; no thread outlives the call
            task.wait()


def _compute(function: Callable[[Chunk], Result], chunk: Chunk, before: BackgroundTask[Result] | None) -> Result:
    """Return ``function(chunk)`` once the chunk before it is done."""
    if before is not None:
        before.wait()
    return function(chunk)
