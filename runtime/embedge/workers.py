"""Batches to cores: side by side with a core for each, or one by one over all cores where one text is all there is."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, Semaphore
from typing import TYPE_CHECKING

from embedge.errors import BundleError
from embedge.plan import Batch
from embedge.task import Task

if TYPE_CHECKING:
    from embedge.session import Session

# Below so many tokens a run is faster on one core: waking the others takes longer than what they would do.
_FEWEST_TO_SHARE = 16
# Tokens that were run on one core while others were idle, from which the time to open a second session is as good as
# lost: that takes as long as some 500 tokens do. (To buy what was rented for its price costs at most twice the best.)
_WORTH_OPENING = 1024


class Workers:
    """The sessions of one graph, and the cores to run them on.

    The *narrow* session takes one thread for a run, and every core makes a run of its own: cores that share a run wait
    for one another after each of its some hundred operators, so side by side they do more in the same time. Where there
    are fewer batches than cores, as for one text, a *wide* session over all cores answers sooner. It is opened when
    such texts keep coming. The vectors are bitwise the same.

    Args:
        open_session: a session of the graph that takes so many threads for each run.
        open_again: the same, later; raises BundleError where the files are gone or no longer those of the first.
        cores: most to use.
        spread: whether to run batches side by side; a GPU takes them one by one.
    """

    def __init__(
        self,
        open_session: Callable[[int], Session],
        open_again: Callable[[int], Session],
        *,
        cores: int,
        spread: bool,
    ) -> None:
        self._open_again = open_again
        self._cores = cores if spread else 1
        self._narrow = open_session(1 if spread else cores)
        self._wide: Session | None = None
        self._opening = Lock()  # never released: one caller tries, once
        self._process = os.getpid()
        self._free = Semaphore(self._cores)  # cores, for batches side by side of all callers together
        self._rented = 0  # tokens so far that a wide session would have run faster

    def run(self, plan: Sequence[Batch], work: Callable[[Session, Batch], object]) -> None:
        """Call ``work`` with a session and each batch, on several threads at once; the first error ends it.

        Args:
            plan: the batches, the largest first.
            work: runs a batch on the session and keeps what comes out; safe to call from several threads.
        """
        wide = self._pick_wide(plan)
        if wide is not None:
            for batch in plan:
                work(wide, batch)
            return
        self._notice_fork()
        waiting = deque(plan)
        tasks: list[Task[None]] = []
        try:
            for _ in range(min(self._cores, len(plan)) - 1):
                tasks.append(Task(lambda: self._drain(waiting, work)))
            self._drain(waiting, work)  # on this thread, too
        finally:
            waiting.clear()  # by now of what an interrupt has left
            for task in tasks:
                task.wait()
        for task in tasks:
            task.result()

    def _drain(self, waiting: deque[Batch], work: Callable[[Session, Batch], object]) -> None:
        """Take batches until there are none; whoever fails takes the rest away from all."""
        try:
            while True:
                try:
                    batch = waiting.popleft()
                except IndexError:
                    return
                with self._free:
                    work(self._narrow, batch)
        except BaseException:
            waiting.clear()
            raise

    def _notice_fork(self) -> None:
        """Here, once, and not on every thread. The threads that held cores are not in a forked child."""
        self._narrow.reopen_after_fork()
        if os.getpid() != self._process:
            self._process, self._free = os.getpid(), Semaphore(self._cores)

    def _pick_wide(self, plan: Sequence[Batch]) -> Session | None:
        """The wide session, if it is faster for the plan, and open or worth it by now."""
        tokens = [batch.tokens * len(batch.members) for batch in plan]
        if len(plan) >= self._cores or not tokens or min(tokens) < _FEWEST_TO_SHARE:
            return None
        if self._wide is None:
            self._rented += sum(tokens)
            if self._rented >= _WORTH_OPENING and self._opening.acquire(blocking=False):
                self._open_wide()
        return self._wide

    def _open_wide(self) -> None:
        """Do without where the bundle has been moved, deleted or replaced since: the narrow session needs no file."""
        with suppress(BundleError):
            self._wide = self._open_again(self._cores)
