"""uvicorn's connection, with limits on the head of a request: how long a client may take to send it, and its size.

uvicorn waits for ever: a client that opens a connection and sends a byte now and then would keep it (Slowloris), and it
keeps a head of any size. And it writes the head and the body of an answer one after the other; here, a client gets both
at once, and wakes once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_BYTES = 64 << 10  # of a head that comes in several parts; one that comes at once has at most asyncio's 256 KiB


class Connection(HttpToolsProtocol):
    """An HTTP/1.1 connection. Subclasses, made by ``limited``, set ``receive_seconds``."""

    receive_seconds: float
    parser: HttpRequestParser
    _since: float | None = None  # when it began to wait for a head; None while an answer is due
    _timer: asyncio.TimerHandle | None = None
    _messages = 0  # requests that began
    _is_head = _is_message = False  # whether the head of a request, or its head or its body, is incomplete
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.transport: Any = _Joined(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Handle what arrived; wait for the rest of a head, no longer than since its first byte."""
        messages = self._messages
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._is_answering():
            self._since = None
        elif self._since is None:
            self._wait()
        if self._is_head and messages == self._messages:  # the part in which the head began is not counted
            self._count_head(len(data))

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._messages += 1
        self._is_head = self._is_message = True
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop those that follow a body in chunks: nobody reads them, and there is no limit on them."""
        if self._is_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the client offers another protocol: then ``_feed`` brings the head again."""
        self._is_head = False
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request is complete."""
        self._is_message = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Write the answer, and go on; until the first byte of another request, uvicorn's limit for idle ones holds."""
        self.transport.flush()
        super().on_response_complete()
        if not self._is_answering() and self._since is None and self._is_message:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _feed(self, data: bytes) -> None:
        """Parse what arrived. An offer of another protocol is declined: the request is parsed again without it.

        Java's HttpClient offers HTTP/2 with its first request; httptools would drop the body.
        """
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                    data = b""
                except HttpParserUpgrade as offer:
                    data = self._head_without_offer() + data[offer.args[0] :]
                    self.parser = HttpRequestParser(self)
        except HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _head_without_offer(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise HttpParserError("a request for a tunnel, and this is no proxy")
        headers = [header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([b"%s %s HTTP/%s" % (method, self.url, version), *map(b": ".join, headers), b"", b""])

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > _HEAD_BYTES:
            self.send_400_response(f"The head of a request has more than {_HEAD_BYTES} bytes.")

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
        """Write, or keep the data until ``flush``, which the end of an answer calls."""
        cycle = self._connection.cycle
        self._held.append(data)
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.flush()

    def close(self) -> None:
        """Write what is left, and close."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Write what is held."""
        held, self._held = self._held, []
        self._transport.write(b"".join(held))


def limited(receive_seconds: float) -> type[Connection]:
    """Return the class of connections with this limit."""
    return type("LimitedConnection", (Connection,), {"receive_seconds": receive_seconds})
