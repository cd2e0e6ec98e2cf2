"""Time the start of a process up to its first answer, and read its memory and its time on a processor. Linux only."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from benchmarks.measure.runtime_api import RuntimeApi

QUERY = {"query": "how do I bake bread?"}
# The end of a script in Python that has done what is timed: it prints a line, and waits until it has been measured.
ANSWERED = "import sys; print('done', flush=True); sys.stdin.read()"
_WAIT = 60  # seconds for an answer


class StartError(Exception):
    """A process ended without an answer, or gave a wrong one."""


@dataclass(frozen=True, slots=True)
class Run:
    """One cold start.

    Attributes:
        milliseconds: from the start of the process to the first answer.
        bytes: the peak resident memory of its processes, added up.
    """

    milliseconds: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Measured(Run):
    """One cold start of processes whose time on a processor is known.

    Attributes:
        cpu: milliseconds that its processes spent on a processor; other programs on the machine change it less.
    """

    cpu: float


def time_program(command: Sequence[str], environment: Mapping[str, str], *, text: str = "") -> tuple[Measured, str]:
    """Start a program, and measure when it has printed its first line, which is returned too. Then wait for its end.

    The program must not end at once, or its memory is gone: it may wait for the end of stdin, which comes after that.

    Args:
        command: the program and its arguments.
        environment: all its variables.
        text: what it reads from stdin up to the end, before it can answer. Without one, stdin ends after the answer.

    Raises:
        StartError: it ended, or was about to end, before its memory could be read.
    """
    with TemporaryFile() as errors:
        begin = time.perf_counter()
        with _running(command, environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdin
            assert process.stdout
            if text:
                with suppress(BrokenPipeError):  # the process ended; there is no line
                    process.stdin.write(text.encode())
                    process.stdin.close()
            line = process.stdout.readline()
            if line:
                measured = _measure(begin, process.pid)
                process.stdin.close()
                process.stdout.read()  # up to its end; a packed app then deletes what it has unpacked
                return measured, line.decode()
            process.wait()
        errors.seek(0)
        last = (errors.read().decode(errors="replace").strip().splitlines() or ["nothing on stderr"])[-1]
        raise StartError(f"{command[0]} ended with {process.returncode} before its first answer: {last}")


def time_lambda(command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """Start AWS's runtime, and measure when it has answered its first event.

    Raises:
        StartError: the answer is an error.
    """
    with RuntimeApi() as api:
        api.invoke(QUERY)
        begin = time.perf_counter()
        with _running(command, {**environment, **api.environment()}) as process:
            answer = api.answer(timeout=_WAIT)
            measured = _measure(begin, process.pid)
            if answer.kind != "response" or "error" in answer.content:
                raise StartError(f"{command[-1]} answered {answer}")
            return measured


def time_server(command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """Start a server, send it a request when its port opens, and measure when it has answered.

    Raises:
        StartError: it answers an error, or does not open the port.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    begin = time.perf_counter()
    with _running(command, {**environment, "PORT": str(port)}) as process:
        _ask(port)
        return _measure(begin, process.pid)


def _ask(port: int) -> None:
    """Send the request as soon as the port is open, and read the answer."""
    end = time.perf_counter() + _WAIT
    while time.perf_counter() < end:
        connection = HTTPConnection("127.0.0.1", port, timeout=_WAIT)
        try:
            connection.request("POST", "/", json.dumps(QUERY))
            response = connection.getresponse()
            if response.status != 200:
                raise StartError(f"a server answered {response.status}: {response.read()!r}")
            response.read()
            return
        except ConnectionRefusedError:
            time.sleep(0.002)
        finally:
            connection.close()
    raise StartError(f"a server did not open its port in {_WAIT} seconds")


@contextmanager
def _running(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: IO[bytes] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        started = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr)
    except OSError as error:
        raise StartError(f"{command[0]} cannot be started: {error.strerror}") from error
    with started as process:
        try:
            yield process
        finally:
            process.terminate()


def _measure(begin: float, pid: int) -> Measured:
    """The figures of a process that began at ``begin`` and has answered just now, from Linux's /proc."""
    milliseconds, cpu, memory = 1000 * (time.perf_counter() - begin), 0.0, 0.0
    for process in _with_children(pid):
        # The first number is nanoseconds on a processor. Source: the kernel's scheduler/sched-stats.rst.
        for thread in (process / "task").iterdir():
            cpu += float((thread / "schedstat").read_text(encoding="utf-8").split()[0]) / 1e6
        memory += peak_memory(process)
    return Measured(milliseconds, memory, cpu)


def peak_memory(process: Path) -> float:
    """The peak resident memory of a process in bytes, from its folder in /proc.

    Raises:
        StartError: it has just ended.
    """
    status = (process / "status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()
    if not status:
        raise StartError(f"{process} ended before its memory could be read")
    return 1024 * float(status[0])


def _with_children(pid: int) -> Iterator[Path]:
    """The folders in /proc of a process and its children."""
    yield Path(f"/proc/{pid}")
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
        yield from _with_children(int(child))
