"""What an export tells while it works: one line for each step, as it ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from embedge.progress import log_step


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Reports a step when it ends: its name, what the block noted about it, and the seconds it took."""
    notes: list[str] = []
    start = time.perf_counter()
    yield notes.append
    log_step(f"{name:<11}{'; '.join(notes)} ({time.perf_counter() - start:.1f} s)")
