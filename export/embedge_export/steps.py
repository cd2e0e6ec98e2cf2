"""The log of an export: one line for each step, when it ends, and the progress of a long one."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embedge.progress import is_terminal, log_step, progress

_PAUSE = 15.0  # seconds between two lines about the progress of a step


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Log a step when the block ends: its name, the notes that the block adds, and the time in seconds.

    The block receives the function that adds a note.
    """
    notes: list[str] = []
    start = time.perf_counter()
    yield notes.append
    log_step(f"{name:<11}{'; '.join(notes)} ({time.perf_counter() - start:.1f} s)")


@contextmanager
def count_layers(total: int) -> Iterator[Callable[[], None]]:
    """Show how many parts of a model are done, and how much time is left: a bar on a terminal, else a line at times.

    The block receives the function to call after each part.

    Args:
        total: how many parts there are.
    """
    start = last = time.monotonic()
    done = 0
    with progress(total, None, unit="layer") as advance_bar:

        def advance() -> None:
            nonlocal done, last
            done += 1
            advance_bar(1)
            now = time.monotonic()
            if now - last >= _PAUSE and done < total and not is_terminal(sys.stderr):
                last = now
                left = (now - start) / done * (total - done)
                log_step(f"{'progress':<11}{done} of {total} parts of the model, about {left:.0f} s left")

        yield advance
