"""Cancel the work of a request if its client goes away, or if it takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from embedge.server.request_error import RequestError

# Seconds after which the client is watched. Most answers are written by then, also while 32 clients ask at a time; to
# watch takes a task, 30 us.
_WATCH_AFTER = 0.1
Result = TypeVar("Result")


async def until_disconnect(request: Request, work: Awaitable[Result], seconds: float) -> Result:
    """Return what a request's work returns; cancel it if the client goes away, or if it takes too long.

    Args:
        request: its body was read, so the next message from the client is that it has gone.
        work: what to await, in this task.
        seconds: how long it may take.

    Raises:
        ClientDisconnect: the client went away.
        RequestError: the work took too long.
    """
    task = asyncio.current_task()
    assert task is not None
    watch = _Watch(request, task, seconds)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.reason is None or task.uncancel():  # somebody else cancels the task: the server is told to stop
            raise
        raise watch.reason from None
    finally:
        watch.stop()


class _Watch:
    """Cancels a task, and keeps the reason."""

    def __init__(self, request: Request, task: asyncio.Task[object], seconds: float) -> None:
        self.reason: Exception | None = None
        self._request = request
        self._task = task
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._gone: asyncio.Task[object] | None = None
        self._timer = self._loop.call_later(min(_WATCH_AFTER, seconds), self._begin)

    def stop(self) -> None:
        """Watch no longer; what was noticed too late is forgotten."""
        self._timer.cancel()
        if self._gone:
            self._gone.remove_done_callback(self._leave)
            self._gone.cancel()
        self._task = None  # type: ignore[assignment]  # a callback that waits its turn finds nobody

    def _begin(self) -> None:
        self._gone = self._loop.create_task(self._request.receive())  # type: ignore[arg-type]
        self._gone.add_done_callback(self._leave)
        self._timer = self._loop.call_later(max(0.0, self._seconds - _WATCH_AFTER), self._give_up)

    def _leave(self, gone: object) -> None:
        self._cancel(ClientDisconnect())

    def _give_up(self) -> None:
        self._cancel(
            RequestError(
                f"the answer took more than {self._seconds:g} s; send fewer texts, or try again later",
                "timeout",
                retry_after=1,
            )
        )

    def _cancel(self, reason: Exception) -> None:
        if self._task is not None and self.reason is None:
            self.reason = reason
            self._task.cancel()
