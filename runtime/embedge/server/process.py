"""Run the server in this process: uvicorn on a socket that is open already, until a signal or the parent's end."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from embedge.server.connection import limited

if TYPE_CHECKING:
    from embedge.server.gate import Gate

_KEEP_ALIVE = 75  # seconds that an idle connection stays open, longer than clients keep theirs (httpx: 5, nginx: 60)
_HEAD_BYTES = 64 << 10  # of a request's head, which h11 limits
_BACKLOG = 2048  # connections that wait to be accepted


class _Server(uvicorn.Server):
    """uvicorn's server, which ends with exit status 0 after a signal: its own sends itself the signal again."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. Ctrl+C reaches this process twice, from the terminal and from the parent, which means no hurry."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    app: Gate,
    sock: socket,
    *,
    receive_seconds: float,
    shutdown_seconds: float,
    on_ready: Callable[[], None],
    close: Callable[[], Awaitable[None]],
    parent: int | None,
) -> None:
    """Answer requests until SIGTERM or SIGINT; then finish those that run, and return.

    Args:
        app: the application.
        sock: the socket, which listens already.
        receive_seconds: time for a client to send the head of a request.
        shutdown_seconds: time to finish requests after a signal; what runs then is cancelled.
        on_ready: called when requests are answered.
        close: closes the models, after the last request.
        parent: a file descriptor whose end of file means that the parent is gone; None if there is no parent.
    """
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # uvicorn's types want its own TypedDicts
        http=limited(receive_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # it would log each broken request
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(shutdown_seconds)),
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    _collect_garbage_rarely()
    asyncio.run(_serve(_Server(config), sock, on_ready, close, parent))


def _collect_garbage_rarely() -> None:
    """Let Python look for cycles once for 10,000 new objects, not 700: a connection makes one, and a request none.

    This saves 1 % of the time under load.
    """
    gc.freeze()  # the models and modules, which stay
    gc.set_threshold(10_000)


async def _serve(
    server: _Server,
    sock: socket,
    on_ready: Callable[[], None],
    close: Callable[[], Awaitable[None]],
    parent: int | None,
) -> None:
    loop = asyncio.get_running_loop()
    if parent is not None:
        loop.add_reader(parent, _stop, server, loop, parent)
    ready = asyncio.ensure_future(_tell(server, on_ready))
    try:
        await server.serve(sockets=[sock])
    finally:
        ready.cancel()
        if parent is not None:
            loop.remove_reader(parent)
        await close()


def _stop(server: _Server, loop: asyncio.AbstractEventLoop, parent: int) -> None:
    loop.remove_reader(parent)
    server.should_exit = True


async def _tell(server: _Server, on_ready: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.001)
    on_ready()
