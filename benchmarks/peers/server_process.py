"""Run a peer's server as a process."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure.http_load import Api, WrongAnswerError, ask
from benchmarks.peers.process import PeerFailedError, child_environment
from benchmarks.peers.virtual_environment import python_with

if TYPE_CHECKING:
    from benchmarks.peers.base import Kit
    from benchmarks.peers.table import Peer

_HOST = "127.0.0.1"
_PATIENCE = 300.0  # seconds to the first answer; torch compiles the model meanwhile


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers.

    Attributes:
        name: the name of its row.
        api: its API.
        process: the process that was started.
        start_seconds: time from the start of its command to its first answer.
    """

    name: str
    api: Api
    process: int
    start_seconds: float


@contextmanager
def running(peer: Peer, kit: Kit) -> Iterator[RunningServer]:
    """Run a peer's server at a free port until it answers, and end it afterwards.

    Raises:
        PeerFailedError: it ended, or did not answer in time. The message has the last line of its output.
        EnvironmentFailedError: its virtual environment could not be created.
    """
    port = _free_port()
    adapter = import_module(f"benchmarks.peers.{peer.module}")
    command = [str(python_with(peer.environment, peer.without)), *adapter.serve(kit), "--port", str(port)]
    environment = child_environment(peer) | {"OMP_NUM_THREADS": str(kit.threads)}
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        try:
            model = _first_answer(process, port, begin)
            yield RunningServer(peer.name, Api(_HOST, port, model), process.pid, time.perf_counter() - begin)
        except (OSError, WrongAnswerError) as error:
            log.seek(0)
            last = (log.read().decode(errors="replace").strip().splitlines() or ["nothing written"])[-1]
            raise PeerFailedError(f"{peer.name}: {error}; its last line: {last}") from error
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _first_answer(process: subprocess.Popen[bytes], port: int, begin: float) -> str:
    """Wait for the first vector, and return the name of the model."""
    while True:
        try:
            connection = HTTPConnection(_HOST, port, timeout=_PATIENCE)
            connection.request("GET", "/v1/models")
            model: str = json.loads(connection.getresponse().read())["data"][0]["id"]
            connection.close()
            ask(Api(_HOST, port, model), "first")
            return model
        except ConnectionError as error:
            if process.poll() is not None:
                raise WrongAnswerError(f"it ended with {process.returncode}") from error
            if time.perf_counter() - begin > _PATIENCE:
                raise
            time.sleep(0.002)


def memory_of(process: int) -> int:
    """Return the bytes of a process and its children, whose shared pages count once; 0 where there is no /proc."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        rollups = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in (str(process), *children)]
    except OSError:
        return 0
    lines = [line for text in rollups for line in text.splitlines() if line.startswith("Pss:")]
    return 1024 * sum(int(line.split()[1]) for line in lines)
