"""`embedge serve` as a process, for tests."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CLIENTS = "tests/runtime/server/clients.txt"
needs_server = pytest.mark.skipif(
    not all(map(find_spec, ("starlette", "uvicorn"))),
    reason="needs starlette and uvicorn: pip install 'embedge[server]'",
)


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    process: "subprocess.Popen[str]"
    url: str
    banner: str
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Send a request; a body that is not bytes is sent as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        return self.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})


@contextmanager
def serving(arguments: Sequence[str | Path], log: Path, *, port: int = 0) -> Iterator[Server]:
    """Run `embedge serve`, and kill it in the end."""
    command = [sys.executable, "-m", "embedge", "serve", *map(str, arguments)]
    if "--unix-socket" not in arguments:
        command += ["--port", str(port)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, env=environment)
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("curl "):
                break
        banner = "".join(lines)
        found = re.search(r" at (\S+) \(", banner)
        assert found, f"{banner}{log.read_text()}"
        yield Server(process, found[1], banner, log)
    finally:
        process.stdout.close()
        process.terminate()
        try:
            process.wait(timeout=10)
        finally:
            process.kill()
            process.wait()


async def empty_object(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that answers ``{}``."""
    from starlette.responses import Response

    await Response("{}")(scope, receive, send)


def run_here(
    client: Callable[[tuple[str, int]], None],
    *,
    receive_seconds: float = 20,
    app: Callable[[Any, Any, Any], Awaitable[None]] = empty_object,
) -> None:
    """Run an application in this process while ``client`` runs in a thread; it gets the server's address.

    The command offers no limit on the time of a head that is short enough for a test.
    """
    from embedge.server.process import run

    sock = socket.create_server(("127.0.0.1", 0))
    stop, parent = socket.socketpair()

    def ask() -> None:
        try:
            client(sock.getsockname())
        finally:
            stop.close()

    thread = threading.Thread(target=ask)

    async def close() -> None:
        await asyncio.sleep(0)

    run(
        app,  # type: ignore[arg-type]
        sock,
        receive_seconds=receive_seconds,
        shutdown_seconds=1,
        on_ready=thread.start,
        close=close,
        parent=parent.fileno(),
    )
    thread.join(10)
    parent.close()


def until_closed(connection: socket.socket) -> bytes:
    """Return what a server sends until it closes a connection."""
    received = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received
