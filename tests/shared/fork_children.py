"""Forks children from a process that uses a model, and prints how each ended.

python tests/shared/fork_children.py BUNDLE PARENT [REPEATS]

PARENT is what the process has done before it forks:

- loaded: opened the model, and no more.
- encoded: embedded one text.
- many: embedded many texts at once, in a session for each core.
- single: embedded one text after the other, in a session for all cores, which has a thread for each further core.
- busy: embeds on two threads while it forks.

A line for each child has what the child does, how it ends, and its exit status: 0, the negative number of a signal, or
``hangs``. A child exits with 3 if its vectors are not those of its parent.
"""

import multiprocessing
import os
import signal
import sys
import time
from threading import Thread

from embedge import Embedder

PARENTS = ("loaded", "encoded", "many", "single", "busy")
CHILDREN = ("encodes", "does nothing", "drops the model")
ENDS = ("sys.exit", "os._exit", "return", "multiprocessing")
_TEXTS = [f"the cat sat on the mat {'and sat ' * (number % 7)}" for number in range(128)]
_SECONDS = 10  # a child that takes longer hangs


class _Parent:
    """A model, which its children inherit as the only reference to it."""

    def __init__(self, bundle: str, parent: str) -> None:
        self.model: Embedder | None = Embedder(bundle, threads=2)
        self.vectors = b""
        if parent != "loaded":
            self.vectors = self.encode(_TEXTS[:1])
        if parent in ("many", "busy"):
            for _ in range(20):  # enough for both sessions to be prepacked
                self.encode(_TEXTS)
        if parent in ("single", "busy"):
            for text in _TEXTS:
                self.encode([text])
            assert self.model._engine.workers._all_cores, "no session has threads of its own"
        self.ends = False
        self.threads = [Thread(target=self._encode_on) for _ in range(2 if parent == "busy" else 0)]
        for thread in self.threads:
            thread.start()

    def encode(self, texts: list[str]) -> bytes:
        assert self.model is not None
        return self.model.encode(texts).tobytes()

    def _encode_on(self) -> None:
        while not self.ends:
            self.encode(_TEXTS[:20])
            self.encode(_TEXTS[:1])

    def act_as(self, child: str) -> None:
        """Do, in the child, what it is to do."""
        if child == "drops the model":
            self.model = None
        if child == "encodes":
            if self.vectors not in (b"", self.encode(_TEXTS[:1])):
                os._exit(3)
            self.encode(_TEXTS)
            for text in _TEXTS:
                self.encode([text])


def _wait(child: int) -> str:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return str(os.waitstatus_to_exitcode(status))
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


def _wait_for_process(parent: _Parent, child: str) -> str:
    process = multiprocessing.get_context("fork").Process(target=parent.act_as, args=(child,))
    process.start()
    process.join(_SECONDS)
    if process.exitcode is None:
        process.kill()
        return "hangs"
    return str(process.exitcode)


def main(bundle: str, state: str, repeats: int) -> None:
    """Fork a child for each thing to do and each way to end, and print their lines."""
    parent = _Parent(bundle, state)
    for child, end in [(child, end) for child in CHILDREN for end in ENDS] * repeats:
        if end == "multiprocessing":
            print(f"{child} | {end} | {_wait_for_process(parent, child)}", flush=True)
            continue
        pid = os.fork()
        if pid:
            print(f"{child} | {end} | {_wait(pid)}", flush=True)
            continue
        parent.act_as(child)
        if end == "os._exit":
            os._exit(0)
        if end == "sys.exit":
            sys.exit(0)
        return
    parent.ends = True
    for thread in parent.threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int((*sys.argv, "1")[3]))
