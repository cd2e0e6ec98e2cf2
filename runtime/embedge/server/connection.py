"""uvicorn's connection with h11, with a limit on how long a client may take to send the head of a request.

uvicorn waits for ever: a client that opens a connection and sends a byte now and then would keep it (Slowloris). And it
writes the head and the body of an answer one after the other; here, a client gets both at once, and wakes once. Plain
requests do not pass through h11 at all (see ``plain_request``).
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from embedge.server.plain_cycle import PlainCycle
from embedge.server.plain_request import PlainRequest, parse_plain


class Connection(H11Protocol):
    """An HTTP/1.1 connection. Subclasses, made by ``limited``, set ``receive_seconds``."""

    receive_seconds: float
    _deadline: float | None = None  # of the loop's clock; None while an answer is due, or uvicorn's own limit holds
    _waits_for_head = False  # whether the deadline is that of a head, or of a connection without requests
    _timer: asyncio.TimerHandle | None = None
    _early = b""  # what arrived while a plain request was answered

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.transport: Any = _Joined(self)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Handle what arrived; wait for the rest of a head, no longer than since its first byte."""
        if self._is_answering() and isinstance(self.cycle, PlainCycle):
            self._early += data
            self.flow.pause_reading()
            return
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:  # the first byte of a head
            if request := parse_plain(data):
                self._answer(request)
                return
            self._wait_for_head()
        super().data_received(data)
        if self._is_answering():
            self._deadline = None
        elif self._deadline is None or not self._waits_for_head:
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """Go on to the next request of the connection; without a byte of it, the limit for idle ones holds.

        The rest of a body that nobody reads must arrive in the time of a head.
        """
        if isinstance(self.cycle, PlainCycle):
            self._after_plain()
            return
        super().on_response_complete()
        if self._is_answering() or self._deadline is not None:
            return
        if self.conn.trailing_data[0] or self.conn.their_state is h11.SEND_BODY:  # of a request that was refused
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._unset_keepalive_if_required()  # uvicorn leaves its timer after an error
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP. If it is the body of a request, nobody waits for that request's answer any longer."""
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        super().send_400_response(msg)

    def _answer(self, request: PlainRequest) -> None:
        """Begin to answer a plain request, as uvicorn begins to answer one that h11 has read."""
        self._unset_keepalive_if_required()
        self._deadline = None
        self.cycle = PlainCycle(self, request)
        task = self.loop.create_task(self.cycle.run_asgi(self.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _after_plain(self) -> None:
        """Do what uvicorn does after an answer, and read what arrived meanwhile."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._waits_for_head = False
        self._limit(self.timeout_keep_alive)
        self.flow.resume_reading()
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_head(self) -> None:
        self._waits_for_head = True
        self._limit(self.receive_seconds)

    def _limit(self, seconds: float) -> None:
        """End the connection in so many seconds, unless the deadline changes until then.

        The timer is not set anew for each request, which would take 10 us. It looks at the deadline when it ends.
        """
        self._deadline = self.loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self.loop.time() < self._deadline:
            self._timer = self.loop.call_at(self._deadline, self._look)
        elif self._waits_for_head:
            self.transport.abort()
        else:
            self.timeout_keep_alive_handler()


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
