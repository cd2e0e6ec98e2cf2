"""The vectors of a stream: its texts in windows, each of which is a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from embedge.errors import OverloadedError, TruncationWarning
from embedge.inference.engine import Engine, windows
from embedge.inference.input_texts import check_iterable, take_texts
from embedge.inference.options import VectorOptions
from embedge.inference.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stream_vectors(
    scheduler: Scheduler,
    engine: Engine,
    texts: str | Iterable[str] | AsyncIterable[str],
    window: int | None,
    options: VectorOptions,
) -> AsyncIterator[NDArray[Any]]:
    """Return an async generator of the vectors of texts, in input order; ``window`` texts are one request.

    Raises:
        InputTypeError: the texts are neither an iterable nor an async iterable of strings.
    """
    size = window or engine.schedule.window
    if isinstance(texts, AsyncIterable):
        source = _async_windows(texts, size)
    else:
        source = _plain_windows(iter([texts]) if isinstance(texts, str) else check_iterable(texts), size)
    return _vectors(scheduler, engine, source, options)


async def _vectors(
    scheduler: Scheduler, engine: Engine, source: AsyncIterator[tuple[int, list[str]]], options: VectorOptions
) -> AsyncIterator[NDArray[Any]]:
    truncation = engine.jobs.truncation(options.call)
    try:
        async for start, texts in source:
            while True:
                job = engine.jobs.vectors(texts, options, start=start, truncation=truncation)
                try:
                    vectors = await scheduler.run(job)
                    break
                except OverloadedError as error:
                    if not start:
                        raise
                    await asyncio.sleep(error.retry_after)
            for vector in vectors:
                yield vector
    except GeneratorExit:  # the caller closes the stream before its end
        with suppress(TruncationWarning):  # if warnings are errors: nobody could catch one raised here
            truncation.warn()
        raise
    truncation.warn()


async def _plain_windows(source: Any, size: int) -> AsyncIterator[tuple[int, list[str]]]:
    for window in windows(source, size):
        yield window


async def _async_windows(texts: AsyncIterable[Any], size: int) -> AsyncIterator[tuple[int, list[str]]]:
    """Yield windows of texts, each with the position of its first text; raises InputTypeError as ``take_texts``."""
    start = 0
    taken: list[Any] = []
    async for text in texts:
        taken += take_texts(iter([text]), 1, start + len(taken))
        if len(taken) == size:
            yield start, taken
            start, taken = start + size, []
    if taken:
        yield start, taken
