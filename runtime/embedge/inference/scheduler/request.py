"""One request of asyncio: a job, and the future that its caller awaits."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from embedge.errors import keep_warnings
from embedge.inference.jobs import Job
from embedge.inference.tokens import Tokens


@dataclass(slots=True, eq=False)
class Request:
    """A job that waits or runs.

    Attributes:
        job: what the caller asks for.
        loop: the event loop of the caller.
        future: what the caller awaits; only the loop's thread may touch it.
        advance: called with the number of texts that are done.
        left: how many texts have no result yet.
        is_over: whether it ended, failed or was cancelled: nothing more is run for it.
        warnings: what to warn the caller about.
    """

    job: Job[Any]
    loop: AbstractEventLoop
    future: Future[Any]
    advance: Callable[[int], object]
    left: int = field(init=False)
    is_over: bool = False
    warnings: list[tuple[str, type[Warning]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left = len(self.job.lengths)

    def complete(self) -> None:
        """Make the result and give it to the caller; any thread may call it, once all texts have run."""
        try:
            with keep_warnings() as self.warnings:
                result = self.job.collector.result()
        except BaseException as error:  # the caller gets it, whatever it is
            self.fail(error)
            return
        self.is_over = True
        settle(self.loop, self.future, result)

    def fail(self, error: BaseException) -> None:
        """Give the caller an error; any thread may call it."""
        self.is_over = True
        settle(self.loop, self.future, None, error)


def settle(loop: AbstractEventLoop, future: Future[Any], result: Any, error: BaseException | None = None) -> None:
    """Set a future of another thread's event loop, unless it was cancelled or the loop is closed."""

    def set_future() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(set_future)


@dataclass(slots=True, eq=False)
class Chunk:
    """Texts of a request that were tokenised together.

    Attributes:
        request: whose texts they are.
        tokens: their tokens.
        start: position of the first of them in the request.
    """

    request: Request
    tokens: Tokens
    start: int
