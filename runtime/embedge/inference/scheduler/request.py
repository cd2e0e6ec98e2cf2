"""One request of asyncio: a job, and the future that its caller awaits."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from embedge.errors import keep_warnings
from embedge.inference.jobs import Job
from embedge.inference.tokens import Tokens

Outcome = tuple[Future[Any], Any, BaseException | None]  # a future, with its result or its error


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

    def fail(self, error: BaseException) -> None:
        """Give the caller an error; any thread may call it."""
        self.is_over = True
        settle(self.loop, [(self.future, None, error)])

    def outcome(self) -> Outcome:
        """Make the result, once all texts have run; any thread may call it."""
        self.is_over = True
        try:
            with keep_warnings() as self.warnings:
                return self.future, self.job.collector.result(), None
        except BaseException as error:  # the caller gets it, whatever it is
            return self.future, None, error


def complete(requests: Iterable[Request]) -> None:
    """Make the results of requests whose texts have all run, and give them to the callers; any thread may call it.

    An event loop is woken once for all of its requests: waking it takes longer than to make the result of one text.
    """
    outcomes: dict[AbstractEventLoop, list[Outcome]] = {}
    for request in requests:
        outcomes.setdefault(request.loop, []).append(request.outcome())
    for loop, settled in outcomes.items():
        settle(loop, settled)


def settle(loop: AbstractEventLoop, outcomes: Sequence[Outcome]) -> None:
    """Set futures of another thread's event loop, but for those that were cancelled; none if the loop is closed."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_set_futures, outcomes)


def _set_futures(outcomes: Sequence[Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            # A future refuses StopIteration, and the others of this list would never be set.
            future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)


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
