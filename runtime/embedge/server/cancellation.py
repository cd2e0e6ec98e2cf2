"""Cancel what a request waits for, with a reason: the client went away, or it takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from embedge.server.request_error import RequestError
from embedge.server.timers import Timers

# Seconds after which the client is watched. Most answers are written by then, also while 32 clients ask at a time; to
# watch takes a task, 30 us.
_WATCH_AFTER = 0.1
Result = TypeVar("Result")


class Cancellation:
    """A block of the current task that callbacks can cancel; the block then raises the reason that they give."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._reason: Exception | None = None

    def __enter__(self) -> Cancellation:
        self._task = asyncio.current_task()
        return self

    def cancel(self, reason: Exception) -> None:
        """Cancel the block, if it has not ended; of several reasons, the first counts."""
        if self._task is not None and self._reason is None:
            self._reason = reason
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        if not isinstance(error, asyncio.CancelledError) or self._reason is None:
            return
        if not task.uncancel():  # else somebody else cancels the task, too: the server is told to stop
            raise self._reason from None


async def until_disconnect(request: Request, work: Awaitable[Result], seconds: float, timers: Timers) -> Result:
    """Return what a request's work returns; cancel it if the client goes away, or if it takes too long.

    Args:
        request: its body was read, so the next message from the client is that it has gone.
        work: what to await, in this task.
        seconds: how long it may take.
        timers: those of the event loop.

    Raises:
        ClientDisconnect: the client went away.
        RequestError: the work took too long.
    """
    with Cancellation() as cancellation:
        watch = _Watch(request, cancellation, seconds, timers)
        try:
            return await work
        finally:
            watch.stop()


class _Watch:
    """Cancels a block when the client goes away, or when it takes too long."""

    def __init__(self, request: Request, cancellation: Cancellation, seconds: float, timers: Timers) -> None:
        self._request = request
        self._cancellation = cancellation
        self._seconds = seconds
        self._timers = timers
        self._gone: asyncio.Task[object] | None = None
        self._timer = timers.call_later(min(_WATCH_AFTER, seconds), self._begin)

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._gone:
            self._gone.remove_done_callback(self._leave)
            self._gone.cancel()

    def _begin(self) -> None:
        self._gone = asyncio.get_running_loop().create_task(self._request.receive())  # type: ignore[arg-type]
        self._gone.add_done_callback(self._leave)
        self._timer = self._timers.call_later(max(0.0, self._seconds - _WATCH_AFTER), self._give_up)

    def _leave(self, gone: object) -> None:
        self._cancellation.cancel(ClientDisconnect())

    def _give_up(self) -> None:
        self._cancellation.cancel(
            RequestError(
                f"the answer took more than {self._seconds:g} s; send fewer texts, or try again later",
                "timeout",
                retry_after=1,
            )
        )
