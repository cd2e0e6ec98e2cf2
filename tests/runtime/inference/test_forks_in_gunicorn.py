"""forks.py in gunicorn: workers of a preloaded app answer, and end when they have answered enough."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from embedge import Bundle, Embedder

pytest.importorskip("gunicorn", reason="needs gunicorn, which the extra `test` installs")
APP = """
import os
from embedge import Embedder

model = Embedder(os.environ["BUNDLE"], threads=2)
for _ in range(200):  # enough for a session for all cores
    model.encode("the cat sat on the mat")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [model.encode("the cat").tobytes().hex().encode(), b" ", str(os.getpid()).encode()]
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def ask(port: int) -> str:
    """The answer of the server, which may still be starting."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                text: str = answer.read().decode()
                return text
        except URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_workers_of_a_preloaded_app_end(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """They end by sys.exit. Before, none of them did: gunicorn killed each after its timeout, and requests waited."""
    (tmp_path / "served.py").write_text(APP)
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--max-requests", "3", "--timeout", "20"]
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BUNDLE": str(tiny_bundle.path)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{port}", "served:app"],
            env={**environment, "PYTHONPATH": paths},
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        ) as server,
    ):
        try:
            answers = [ask(port).split() for _ in range(12)]
        finally:
            server.terminate()
            status = server.wait(60)
    expected = Embedder(tiny_bundle.path).encode("the cat").tobytes().hex()
    assert {vector for vector, _ in answers} == {expected}
    assert len({worker for _, worker in answers}) >= 4
    said = log.read_text()
    assert re.search(r"TIMEOUT|SIGKILL|SIGABRT|terminate called", said) is None, said
    assert status == 0, said
