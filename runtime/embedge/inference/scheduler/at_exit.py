"""Lets the batches that run end before the process does.

Scheduler threads are daemon threads. When Python has ended, a daemon thread that comes back from ONNX Runtime is killed
inside C++ code, which may abort the process.
"""

from __future__ import annotations

import atexit
from time import monotonic, sleep
from typing import Protocol
from weakref import WeakSet

_LONGEST = 60.0  # seconds; a batch takes less
_PAUSE = 0.002  # seconds


class Ending(Protocol):
    """What has to end."""

    def abandon(self) -> bool:
        """Take no more work, and return whether nothing runs."""


_OPEN: WeakSet[Ending] = WeakSet()


def end_before_exit(scheduler: Ending) -> None:
    """Wait for what a scheduler runs, if it still exists when the process ends."""
    if not _OPEN:
        atexit.unregister(_wait)
        atexit.register(_wait)
    _OPEN.add(scheduler)


def _wait() -> None:
    until = monotonic() + _LONGEST
    for scheduler in list(_OPEN):
        while not scheduler.abandon() and monotonic() < until:
            sleep(_PAUSE)
