"""Threads that are started when there is work, and end when there has been none for some seconds."""

from __future__ import annotations

import threading
from _queue import Empty, SimpleQueue
from collections.abc import Callable

from embedge.background import start_thread

# A thread that has nothing to do for so long ends. Meanwhile it holds the scheduler, and through it the model, which a
# program may have dropped without closing it.
_IDLE_SECONDS = 5.0


class Threads:
    """Threads that call one function again and again, as long as it finds work.

    They are daemon threads: the process may end while they wait.

    Args:
        step: does one piece of work; returns False if there was none. It must not raise.
        most: the largest number of threads.
    """

    def __init__(self, step: Callable[[], bool], *, most: int) -> None:
        self._step = step
        self._most = most
        self._lock = threading.Lock()
        self._permits: SimpleQueue[None] = SimpleQueue()
        self._count = 0
        self._idle = 0  # threads that wait, and that no permit was put for
        self._calls = 0  # of ``wake``

    def wake(self) -> None:
        """Have a thread look for work: one that waits, or a new one; if all of them work, they look afterwards.

        Raises:
            RuntimeError: the system starts no thread, and there is none yet.
        """
        with self._lock:
            self._calls += 1
            if self._idle:
                self._idle -= 1
                self._permits.put(None)
            elif self._count < self._most:
                self._start()

    def stop(self) -> None:
        """End the threads that wait, and the others once they find no work."""
        with self._lock:
            self._most = 0
            for _ in range(self._idle):
                self._permits.put(None)
            self._idle = 0

    def _start(self) -> None:
        try:
            start_thread(lambda work: work(), self._work, daemon=True)
        except RuntimeError:  # "can't start new thread"
            if not self._count:
                raise
            return
        self._count += 1

    def _work(self) -> None:
        while True:
            with self._lock:
                calls = self._calls
            if self._step():
                continue
            with self._lock:
                if self._calls != calls:  # more work may have come since
                    continue
                if not self._most:
                    self._count -= 1
                    return
                self._idle += 1
            if not self._wait():
                return

    def _wait(self) -> bool:
        """Wait for a permit; return False if none came, and this thread is to end."""
        try:
            self._permits.get(timeout=_IDLE_SECONDS)
        except Empty:
            with self._lock:
                try:
                    self._permits.get(block=False)  # one came in the last moment
                except Empty:
                    self._idle -= 1
                    self._count -= 1
                    return False
        return True
