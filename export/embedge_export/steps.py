"""The log of an export: one line for each step, when it ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embedge.progress import log_step


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Log a step when the block ends: its name, the notes that the block adds, and the time in seconds.

    The block receives the function that adds a note.
    """
    notes: list[str] = []
    start = time.perf_counter()
    yield notes.append
    log_step(f"{name:<11}{'; '.join(notes)} ({time.perf_counter() - start:.1f} s)")
