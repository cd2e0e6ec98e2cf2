"""A peer in a process of its own, so that none shares another's memory, threads or imports."""

import json
import os
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from peers.base import Kit
from peers.environment import python_with
from peers.table import Peer

_FOLDER = Path(__file__).parents[1]


class PeerFailedError(Exception):
    """A peer's process ended."""


class PeerProcess:
    """A running peer.

    Args:
        peer: which.
        kit: its files.

    Raises:
        PeerFailedError: it could not be loaded; the message ends with the last line of its stderr.
        EnvironmentFailedError: its environment could not be made.
    """

    def __init__(self, peer: Peer, kit: Kit) -> None:
        self.name = peer.name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            child_command("peers.child", peer, kit),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=child_environment(),
            text=True,
            encoding="utf-8",
        )
        try:
            self.size: int = self._answer()["size"]
        except BaseException:
            self.close()
            raise

    def ask(self, verb: str, **order: Any) -> dict[str, Any]:
        """What the process answers; it is the only one that works meanwhile.

        Raises:
            PeerFailedError: it ended.
        """
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"verb": verb, **order}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended; the answer tells
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
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._log.close()


def child_command(module: str, peer: Peer, kit: Kit) -> list[str]:
    """What starts a module of this folder in the peer's environment, told what to load.

    Raises:
        EnvironmentFailedError: the environment could not be made.
    """
    order = {"module": peer.module, "kit": {**asdict(kit), "folder": str(kit.folder)}}
    # Last on the path: a library may import a package that is called as one of the modules here.
    start = f"import sys; sys.path.append({str(_FOLDER)!r}); from {module} import main; main()"
    return [str(python_with(peer.environment, peer.without)), "-c", start, json.dumps(order)]


def child_environment() -> dict[str, str]:
    """This one's, with no hub to ask and without this folder, which ``child_command`` puts last.

    Bytecode is kept, even where this shell keeps none: an installed package has it, and a checkout would be compiled at
    every start.
    """
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and Path(path) != _FOLDER]
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**own, **offline, "PYTHONPATH": os.pathsep.join(paths)}
