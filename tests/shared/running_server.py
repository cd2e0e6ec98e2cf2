"""`embedge serve` as a process, for tests."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
