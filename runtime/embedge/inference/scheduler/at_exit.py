"""Lets the batches that run end before the process does.

The threads of slots are daemon threads. When Python has ended, a daemon thread that comes back from ONNX Runtime is
killed inside C++ code, which aborts the process ("terminate called without an active exception").
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


def end_before_exit(slots: Ending) -> None:
    """Wait for what runs in some slots, if they still exist when the process ends; their threads hold them."""
    if not _OPEN:
        atexit.unregister(_wait)
        atexit.register(_wait)
    _OPEN.add(slots)


def _wait() -> None:
    until = monotonic() + _LONGEST
    for slots in list(_OPEN):
        while not slots.abandon() and monotonic() < until:
            sleep(_PAUSE)
