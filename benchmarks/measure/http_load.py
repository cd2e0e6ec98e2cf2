"""Send requests to a server over HTTP, and time the answers.

One thread holds all connections, and writes and reads bytes itself: clients that cost more would take the cores from
the server that they measure.
"""

import base64
import json
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_PATIENCE = 60.0  # seconds without any answer


class WrongAnswerError(Exception):
    """A server did not answer with 200 and a body of known length."""


@dataclass(frozen=True, slots=True)
class Api:
    """A server's OpenAI API.

    Attributes:
        host: an address.
        port: its port.
        model: the model to ask for.
        path: what comes before ``/embeddings``.
    """

    host: str
    port: int
    model: str
    path: str = "/v1"

    def request(self, text: str) -> bytes:
        """Return the bytes that ask for the vector of one text, as the openai client does by default: in base64."""
        body = json.dumps({"model": self.model, "input": text, "encoding_format": "base64"}).encode()
        lines = (
            f"POST {self.path}/embeddings HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return "\r\n".join(lines).encode() + _END + body


@dataclass(slots=True)
class _Connection:
    """A connection, and what it has received of an answer."""

    sock: socket.socket
    received: bytearray = field(default_factory=bytearray)
    begin: float = 0.0

    def send(self, request: bytes) -> None:
        self.received.clear()
        self.begin = time.perf_counter()
        self.sock.sendall(request)

    def receive(self) -> bytes | None:
        """Read what is there; return the body of a whole answer, and None before its end."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise WrongAnswerError(f"the server closed the connection after {bytes(self.received[:200])!r}")
        self.received += data
        head, end, body = self.received.partition(_END)
        if not end:
            return None
        _, found, rest = head.lower().partition(_LENGTH)
        if not found or not head.startswith(b"HTTP/1.1 200"):
            raise WrongAnswerError(f"the server answered {bytes(self.received[:400])!r}")
        return bytes(body) if len(body) >= int(rest.split(b"\r\n")[0]) else None


def connect(api: Api) -> _Connection:
    """Return an open connection."""
    sock = socket.create_connection((api.host, api.port), timeout=_PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Connection(sock)


def ask(api: Api, text: str) -> list[float]:
    """Return the vector of one text, from base64 or from a list.

    Raises:
        OSError: there is no server.
        WrongAnswerError: it answered with an error.
    """
    connection = connect(api)
    try:
        connection.send(api.request(text))
        while (body := connection.receive()) is None:
            pass
    finally:
        connection.sock.close()
    found: str | list[float] = json.loads(body)["data"][0]["embedding"]
    if not isinstance(found, str):  # some servers ignore encoding_format
        return found
    numbers: list[float] = np.frombuffer(base64.b64decode(found), "<f4").tolist()
    return numbers


def one_at_a_time(api: Api, texts: Sequence[str]) -> list[float]:
    """Return the seconds of each text, asked for on one connection after the answer to the one before.

    Raises:
        WrongAnswerError: an answer was an error.
    """
    connection, seconds = connect(api), []
    try:
        for request in map(api.request, texts):
            connection.send(request)
            while connection.receive() is None:
                pass
            seconds.append(time.perf_counter() - connection.begin)
    finally:
        connection.sock.close()
    return seconds


def concurrent(api: Api, texts: Sequence[str], *, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Let clients ask for one text each, the next as soon as they have an answer.

    Args:
        api: the server.
        texts: the texts, which the clients take in turn, again from the start after the last.
        clients: the number of connections.
        seconds: time after which no request is sent; those that run are waited for.

    Returns:
        Answers a second, and the seconds of each.

    Raises:
        WrongAnswerError: an answer was an error, or there was none for a minute.
    """
    requests, sent = list(map(api.request, texts)), 0
    times: list[float] = []
    connections = [connect(api) for _ in range(clients)]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.sock, selectors.EVENT_READ, connection)
        try:
            begin = time.perf_counter()
            for connection in connections:
                connection.send(requests[sent % len(requests)])
                sent += 1
            while len(times) < sent:
                ready = selector.select(_PATIENCE)
                if not ready:
                    raise WrongAnswerError(f"the server sent nothing for {_PATIENCE:.0f} s")
                for key, _ in ready:
                    if key.data.receive() is None:
                        continue
                    now = time.perf_counter()
                    times.append(now - key.data.begin)
                    if now < begin + seconds:
                        key.data.send(requests[sent % len(requests)])
                        sent += 1
            spent = time.perf_counter() - begin
        finally:
            for connection in connections:
                connection.sock.close()
    return len(times) / spent, times
