"""A graph that aborts: who notices, and what works afterwards."""

import os
import threading
from contextlib import closing
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import numpy as np
import pytest

from aborting_kernels import WORD, write_aborting
from embedge import Bundle, Embedder
from running_server import Server, needs_server, serving

pytestmark = [needs_server, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system with fork")]
TEXTS = ["the cat sat on the mat", "a dog ran far away"]


@pytest.fixture
def aborting(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    bundle = write_aborting(tiny_bundle.path, tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'packages'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("EMBEDGE_KERNELS", "on")
    monkeypatch.delenv("EMBEDGE_KERNELS_ISA", raising=False)
    return bundle


def test_the_request_fails_and_the_next_one_works(aborting: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Three times: a process that aborts at once again is replaced, too, and the log tells each."""
    expected = Embedder(tiny_bundle.path, kernels=False).encode(TEXTS)
    with serving([aborting], tmp_path / "log") as server:
        for number in range(3):
            with pytest.raises((RemoteDisconnected, ConnectionResetError)):
                server.post("/embed", {"inputs": f"the {WORD}"})
            answer = server.post("/embed", {"inputs": TEXTS})  # at once: it waits, and is not refused
            assert np.array_equal(np.array(answer.json, np.float32), expected)
            assert f"embedge_restarts_total {number + 1}\n".encode() in server.get("/metrics").body
        server.process.terminate()
        assert server.process.wait(timeout=30) == 0
    lines = server.log.read_text().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("the server's process was ended by SIGABRT; starting another in ") for line in lines)


def test_every_client_of_the_process_sees_an_end(aborting: Path, tmp_path: Path) -> None:
    """Nobody waits for an answer that will not come: not the idle, not those whose requests ran or waited."""
    with (
        serving([aborting], tmp_path / "log") as server,
        closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as idle,
    ):
        ask_health(idle)
        ends: list[str] = []
        answered = threading.Barrier(9)  # a connection that the process has not taken yet waits for the next one
        threads = [threading.Thread(target=ask_until_it_ends, args=(server, answered, ends)) for _ in range(8)]
        for thread in threads:
            thread.start()
        answered.wait(30)
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            server.post("/embed", {"inputs": [*TEXTS, WORD]})
        for thread in threads:
            thread.join(30)
        assert len(ends) == 8
        with pytest.raises((RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
            ask_health(idle)
        assert server.post("/embed", {"inputs": TEXTS}).status == 200


def ask_until_it_ends(server: Server, answered: threading.Barrier, ends: list[str]) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        ask_health(connection)
        answered.wait(30)
        try:
            while True:
                connection.request("POST", "/embed", f'{{"inputs": "{TEXTS[0]}"}}')
                assert connection.getresponse().read().startswith(b"[[")
        except ConnectionError as error:  # RemoteDisconnected is one
            ends.append(type(error).__name__)


def ask_health(connection: HTTPConnection) -> None:
    connection.request("GET", "/health")
    connection.getresponse().read()
