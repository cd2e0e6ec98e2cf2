"""The answer to a plain request, written without h11, which has not read the request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, RequestResponseCycle

from embedge.server.plain_request import WHOLE_BODY

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from embedge.server.plain_request import PlainRequest


class PlainCycle(RequestResponseCycle):
    """uvicorn's cycle of one request and its answer, without h11.

    Args:
        connection: whose request it is. Its transport holds the head of an answer until the body comes.
        request: the request.
    """

    keep_alive: bool
    response_started: bool
    response_complete: bool

    def __init__(self, connection: H11Protocol, request: PlainRequest) -> None:
        super().__init__(
            scope=make_scope(connection, request),  # type: ignore[arg-type]  # uvicorn's type has no extensions
            conn=connection.conn,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=connection.on_response_complete,
        )
        self.body = request.body  # type: ignore[assignment]  # uvicorn adds to its own, and then makes it bytes
        self.more_body = False
        self.message_event.set()

    async def send(self, message: Any) -> None:
        """Write the head of the answer, then the body."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started = True
            headers = [*self.default_headers, *message["headers"]]
            self.keep_alive = self.keep_alive and (b"connection", b"close") not in headers
            self.transport.write(write_head(message["status"], headers))
            return
        if self.response_complete or message.get("more_body"):
            raise RuntimeError("an answer has one body")
        self.response_complete = True
        self.message_event.set()
        self.transport.write(message["body"])
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def make_scope(connection: H11Protocol, request: PlainRequest) -> dict[str, Any]:
    """Return the ASGI scope of a request, as uvicorn makes it, with the extension ``WHOLE_BODY``."""
    path, _, query = request.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": connection.config.asgi_version, "spec_version": "2.3"},
        "http_version": "1.1",
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "method": "POST",
        "root_path": "",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": request.headers,
        "state": {},
        "extensions": {WHOLE_BODY: {}},
    }


def write_head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    r"""Return the bytes of an answer's head.

    >>> write_head(200, [(b"content-length", b"2")])
    b'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n'
    """
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, STATUS_PHRASES[status])]
    for name, value in headers:
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
