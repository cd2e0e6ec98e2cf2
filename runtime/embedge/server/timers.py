"""Timers that may be a little late, and cost little: one timer of the event loop for all that end in the same moment.

asyncio keeps a heap of timers and compares them in Python. A request sets two timers that hardly ever end; with these,
they take a microsecond each instead of ten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

_STEP = 0.05  # seconds that a timer may be late


class Timers:
    """Timers of one event loop."""

    def __init__(self) -> None:
        self._ends: dict[int, dict[int, Callable[[], object]]] = {}  # by the number of the step in which they end
        self._numbers = count()

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call a function in the running event loop after so many seconds, and up to 0.05 more; never early."""
        loop = asyncio.get_running_loop()
        step = int((loop.time() + seconds) / _STEP) + 1
        ending = self._ends.get(step)
        if ending is None:
            ending = self._ends[step] = {}
            loop.call_at(step * _STEP, self._end, step)
        number = next(self._numbers)
        ending[number] = call
        return Timer(ending, number)

    def _end(self, step: int) -> None:
        ending = self._ends[step]
        while ending:  # a call may cancel another timer
            call = ending.pop(next(iter(ending)))
            try:
                call()
            except Exception as error:  # the others must end all the same
                loop = asyncio.get_running_loop()
                loop.call_exception_handler({"message": "a timer's function failed", "exception": error})
        del self._ends[step]


class Timer:
    """A timer that can be cancelled."""

    __slots__ = ("_ending", "_number")

    def __init__(self, ending: dict[int, Callable[[], object]], number: int) -> None:
        self._ending = ending
        self._number = number

    def cancel(self) -> None:
        """Do not call the function, unless it was called already."""
        self._ending.pop(self._number, None)
