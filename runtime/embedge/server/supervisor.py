"""Run the server in a child process, and start another if it dies.

A graph, a driver or the system may end a process at any moment: ONNX Runtime aborts, a kernel segfaults, memory runs
out. The parent has the socket, and nothing else that could fail: while a child is started, clients wait in the socket's
queue and are not refused. Requests and vectors pass no pipe between two processes, so supervision costs no time. Where
there is no fork (Windows), the server runs in the only process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from socket import socket
from types import FrameType

from embedge.progress import tell

_FIRST_PAUSE = 0.1  # seconds before a child that died is replaced; doubled for each that follows at once
_LONGEST_PAUSE = 2.0
_STEADY = 60.0  # seconds after which a child counts as having worked
_PATIENCE = 5.0  # seconds that a child may take longer than it should to stop, before it is killed
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server runs.

    Attributes:
        restarts: how many processes died before this one.
        parent: a file descriptor whose end of file means that the parent is gone; None if there is no parent.
        tell_ready: tells the parent that requests are answered.
    """

    restarts: int
    parent: int | None
    tell_ready: Callable[[], None]


def supervise(run: Callable[[Place], None], sock: socket, *, shutdown_seconds: float) -> int:
    """Run a server in a child, and in others after it if it dies; return the exit status.

    Args:
        run: runs the server until it is told to stop.
        sock: the server's socket, which this process closes when it is told to stop.
        shutdown_seconds: time that a child may take to stop.
    """
    if not hasattr(os, "fork"):
        run(Place(0, None, lambda: None))
        return 0
    return _Supervisor(run, sock, shutdown_seconds).loop()


class _Supervisor:
    def __init__(self, run: Callable[[Place], None], sock: socket, shutdown_seconds: float) -> None:
        self._run = run
        self._sock = sock
        self._shutdown_seconds = shutdown_seconds
        self._stopping = self._killed = False
        self._child = 0
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def loop(self) -> int:
        """Return the exit status; returns in the child, too, when its server has ended."""
        restarts, pause = 0, _FIRST_PAUSE
        while True:
            begin = time.monotonic()
            ready, status = self._one_child(restarts)
            if ready is None:  # this is the child
                return status
            if self._stopping:
                return 1 if self._killed else 0
            if status == 0 or not ready:  # it told the user why it cannot start
                return status
            pause = _FIRST_PAUSE if time.monotonic() - begin > _STEADY else min(pause * 2, _LONGEST_PAUSE)
            tell(f"the server's process {_describe(status)}; starting another in {pause:.1f} s")
            time.sleep(pause)
            restarts += 1
            if self._stopping:
                return 0

    def _one_child(self, restarts: int) -> tuple[bool | None, int]:
        """Return whether a child answered requests, and its exit status; in the child None, and 0."""
        alive_read, alive_write = os.pipe()
        ready_read, ready_write = os.pipe()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the parent knows the child
        self._child = os.fork()
        if self._child == 0:
            os.close(alive_write)
            os.close(ready_read)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._run(Place(restarts, alive_read, lambda: _write_byte(ready_write)))
            return None, 0
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(alive_read)
        os.close(ready_write)
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        ready = os.read(ready_read, 1) != b""
        os.close(alive_write)
        os.close(ready_read)
        code = os.waitstatus_to_exitcode(status)
        return ready, code if code >= 0 else 128 - code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            if number == signal.SIGINT:  # Ctrl+C again
                self._kill(number, frame)
            return
        self._stopping = True
        self._sock.close()  # so that nobody waits for a server that will not come
        signal.signal(signal.SIGALRM, self._kill)
        signal.setitimer(signal.ITIMER_REAL, self._shutdown_seconds + _PATIENCE)
        if self._child:
            os.kill(self._child, signal.SIGTERM)

    def _kill(self, number: int, frame: FrameType | None) -> None:
        if self._child:
            self._killed = True
            tell("the server's process did not stop; killing it")
            os.kill(self._child, signal.SIGKILL)


def _describe(status: int) -> str:
    if status > 128:
        try:
            return f"was ended by {signal.Signals(status - 128).name}"
        except ValueError:
            pass
    return f"ended with exit status {status}"


def _write_byte(descriptor: int) -> None:
    try:
        os.write(descriptor, b"1")
    except OSError as error:  # the parent is gone; the server ends by itself
        tell(str(error))
