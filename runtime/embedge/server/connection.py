"""uvicorn's connection, with a limit on how long a client may take to send the head of a request.

uvicorn waits for ever: a client that opens a connection and sends a byte now and then would keep it (Slowloris). And it
writes the head and the body of an answer one after the other; here, a client gets both at once, and wakes once.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """An HTTP/1.1 connection. Subclasses, made by ``limited``, set ``receive_seconds``."""

    receive_seconds: float
    _since: float | None = None  # when it began to wait for a head; None while an answer is due
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.transport: Any = _Joined(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Handle what arrived; wait for the rest of a head, no longer than since its first byte."""
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:  # the first byte of a head
            self._wait()
        super().data_received(data)
        if self._is_answering():
            self._since = None
        elif self._since is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Go on to the next request of the connection; without a byte of it, uvicorn's limit for idle ones holds.

        The rest of a body that nobody reads must arrive in the time of a head.
        """
        super().on_response_complete()
        if self._is_answering() or self._since is not None:
            return
        if self.conn.trailing_data[0] or self.conn.their_state is h11.SEND_BODY:  # of a request that was refused
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        """Begin to wait for a head. There is one timer, which looks at the time when it ends, not one for each head."""
        self._since = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(self.receive_seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return
        left = self._since + self.receive_seconds - self.loop.time()
        if left <= 0:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(left, self._look)


class _Joined:
    """A connection's transport that holds what is written of an answer until it is complete: a head and one body."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or keep the data until the end of the answer."""
        cycle = self._connection.cycle
        self._held.append(data)
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self._flush()

    def close(self) -> None:
        """Write what is left, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, []
        self._transport.write(b"".join(held))


def limited(receive_seconds: float) -> type[Connection]:
    """Return the class of connections with this limit."""
    return type("LimitedConnection", (Connection,), {"receive_seconds": receive_seconds})
