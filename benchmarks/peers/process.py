"""Run each peer in its own process, so that peers do not share memory, threads or imports."""

import json
import os
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from benchmarks.peers.base import Kit
from benchmarks.peers.table import Peer
from benchmarks.peers.virtual_environment import python_with

_ROOT = Path(__file__).parents[2]


class PeerFailedError(Exception):
    """The process of a peer ended unexpectedly."""


class PeerProcess:
    """A process that has loaded a peer's encoder.

    Args:
        peer: the row of the benchmark.
        kit: the files of the encoder.

    Raises:
        PeerFailedError: the encoder could not be loaded. The message ends with the last line of stderr.
        EnvironmentFailedError: its virtual environment could not be created.
    """

    def __init__(self, peer: Peer, kit: Kit) -> None:
        self.name = peer.name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it
        self._process = subprocess.Popen(
            child_command("benchmarks.peers.child", peer, kit),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=child_environment(peer),
            text=True,
            encoding="utf-8",
        )
        try:
            loaded = self._answer()
            self.size: int = loaded["size"]
            self.load_seconds: float = loaded["seconds"]  # with the library's imports
        except BaseException:
            self.close()
            raise

    def ask(self, verb: str, **order: Any) -> dict[str, Any]:
        """Send a command and return the answer. This process waits meanwhile.

        Raises:
            PeerFailedError: the process ended.
        """
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"verb": verb, **order}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process ended; _answer raises
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._log.seek(0)
            last = (self._log.read().decode(errors="replace").strip().splitlines() or ["nothing on stderr"])[-1]
            raise PeerFailedError(f"{self.name} ended with {code}: {last}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()


def child_command(module: str, peer: Peer, kit: Kit) -> list[str]:
    """The command that runs a module's ``main`` in the peer's environment, with the peer and its kit as JSON.

    Raises:
        EnvironmentFailedError: the virtual environment could not be created.
    """
    order = {"module": peer.module, "kit": {**asdict(kit), "folder": str(kit.folder)}}
    # Last on the path, so that nothing in the checkout hides a package of the library.
    start = f"import sys; sys.path.append({str(_ROOT)!r}); from {module} import main; main()"
    return [str(python_with(peer.environment, peer.without)), "-c", start, json.dumps(order)]


def child_environment(peer: Peer | None = None) -> dict[str, str]:
    """The environment variables of this process, offline, and without the checkout, which ``child_command`` puts last.

    The variables that a peer sets come on top.

    Python may write bytecode, even where PYTHONDONTWRITEBYTECODE is set here: an installed package has bytecode, and a
    checkout without it would be compiled at every cold start.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path) != _ROOT]
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**own, **offline, "PYTHONPATH": os.pathsep.join(paths), **dict(peer.variables if peer else ())}
