"""Watch one worker: report its trials as they end, and also where it hangs or dies."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_STARTING = 60.0  # seconds until the first trial begins


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial that ended: its index and its fault."""

    index: int
    fault: str | None


def watch(command: Sequence[str], *, limit: float, until: float, log: Path) -> Iterator[Ended]:
    """Start a worker and yield its trials as they end, until it ends or the time is up.

    A trial that hangs or kills the process is the last one.

    Args:
        command: the command of the worker.
        limit: the seconds that a trial may take.
        until: the ``time.monotonic()`` after which no further trial begins.
        log: the file for the worker's stderr.
    """
    with log.open("ab") as file:
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # the worker can import what this process can
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, start_new_session=True, env={**os.environ, **path}
        )
    lines: queue.Queue[bytes] = queue.Queue()
    reading = threading.Thread(target=_read, args=(child, lines), daemon=True)
    reading.start()
    running, since = -1, time.monotonic()
    try:
        while running >= 0 or time.monotonic() < until:
            patience = since + (limit if running >= 0 else _STARTING) - time.monotonic()
            try:
                line = lines.get(timeout=max(0.0, patience))
            except queue.Empty:
                if running < 0:
                    raise RuntimeError(f"a worker did not start: {_last(log)}") from None
                yield Ended(running, f"hangs: no end after {limit:g} s")
                return
            if not line:
                code = child.wait(timeout=_STARTING)
                if running >= 0:
                    yield Ended(running, f"the process ends: {_ending(code)}; {_last(log)}")
                elif code:
                    raise RuntimeError(f"a worker did not start: {_last(log)}")
                return
            message = json.loads(line)
            since = time.monotonic()
            running = message.get("begin", -1)
            if "end" in message:
                yield Ended(message["end"], message["fault"])
                if time.monotonic() >= until:
                    return
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        reading.join()


def _read(child: "subprocess.Popen[bytes]", lines: "queue.Queue[bytes]") -> None:
    assert child.stdout is not None
    with child.stdout as stdout:
        for line in stdout:
            lines.put(line)
    lines.put(b"")


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _last(log: Path) -> str:
    return (log.read_text(errors="replace").splitlines() or [""])[-1][:200]
