"""The HTTP server of a container: Python's own, a thread for each request, one request for each connection.

It is for a platform that has a proxy in front, such as Google Cloud Run, Knative or Azure Container Apps: the proxy
ends TLS, limits the rate, and keeps connections open.
"""

from __future__ import annotations

import errno
import signal
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from embedge.errors import EmbedgeError
from embedge.function.answer import Model
from embedge.function.reply import JSON_HEADERS, Reply, reply_to_http

# Google Cloud Run refuses larger HTTP/1 requests, too. Source: its documentation, "Quotas and limits".
LARGEST_BODY = 32 << 20  # bytes
_IDLE = 30  # seconds that a connection may send nothing


class Server(ThreadingHTTPServer):
    """Answers requests with a model. ``server_close`` waits for the requests that have begun."""

    allow_reuse_address = sys.platform != "win32"  # on Windows, two servers could open the same port
    daemon_threads = False
    request_queue_size = 128  # connections that wait to be accepted; Python's default of 5 refuses bursts

    def __init__(self, model: Model, address: tuple[str, int]) -> None:
        self.model = model
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Write nothing about a client that went away; of any other error the traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _IDLE

    def do_GET(self) -> None:
        self._send(reply_to_http(self.server.model, "GET", bytes))

    do_HEAD = do_GET  # noqa: N815 - the base class calls it by this name

    def do_POST(self) -> None:
        reply, size = self._check_length()
        if reply is None:
            body = self.rfile.read(size)
            if len(body) < size:
                return  # the client went away
            reply = reply_to_http(self.server.model, "POST", lambda: body)
        self._send(reply)

    def _check_length(self) -> tuple[Reply | None, int]:
        """Return the reply that refuses the body, if it must be refused, and the body's length in bytes."""
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            found = "the request has no Content-Length; send one, with the bytes of the body"
            return Reply(HTTPStatus.LENGTH_REQUIRED, {"error": found}), 0
        if len(length) > 20 or int(length) > LARGEST_BODY:
            found = f"the body has {length[:20]} bytes, more than {LARGEST_BODY}; send fewer texts at a time"
            return Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": found}), 0
        return None, int(length)

    def _send(self, reply: Reply) -> None:
        body = reply.to_json().encode()
        self.send_response(reply.status)
        for name, value in JSON_HEADERS.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: the platform logs requests, and a path may quote a text."""


def serve(model: Model, *, host: str, port: int) -> None:
    """Answer HTTP requests until SIGTERM or SIGINT; then answer those that have begun, and return.

    Raises:
        EmbedgeError: the port cannot be opened, for example because another program listens there.
    """
    try:
        server = Server(model, (host, port))
    except OSError as error:
        raise EmbedgeError(_why_not(port, error)) from error
    with server:
        # shutdown() waits for serve_forever, which this thread runs, so another thread must call it.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever()


def _why_not(port: int, error: OSError) -> str:
    """Return the message for a port that cannot be opened."""
    other = 8080 if port < 1024 or port == 65535 else port + 1
    found = f"cannot be opened ({error.strerror or error}); "
    if error.errno == errno.EADDRINUSE:
        found = "is in use; end the program that listens there, or "
    return f"port {port} {found}take another port: `PORT={other} python -m embedge.serverless`"
