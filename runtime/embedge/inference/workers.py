"""Batches to cores: side by side with a core for each, or one by one over all cores where one text is all there is."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING

from embedge.background import BackgroundTask, Semaphore
from embedge.errors import BundleError
from embedge.inference.faster_way import Pace
from embedge.inference.plan import Batch, total_tokens

if TYPE_CHECKING:
    from embedge.inference.session import Session

# Tokens that were run on one core while others were idle, from which the time to open a second session is as good as
# lost: that takes as long as two cores save on so many. (To buy what was rented for its price costs at most twice the
# best.)
_WORTH_OPENING = 512
# Runs that packed the weights for themselves, from which a session that has them packed pays, by the same reasoning.
_WORTH_PACKING = 16
# Tokens of a call for each core on which packing saves what it takes, measured with up to 512 in a batch. It is then
# done at once, while there are no buffers of the unpacked sessions in memory beside the packed ones.
_SURE_PACKING = 4096
_FEW = 2  # cores, whose sessions may all be packed


class Workers:
    """The sessions of one graph, and the cores to run them on.

    *Narrow* sessions take one thread for a run, and every core makes a run of its own: cores that share a run wait for
    one another after each of its some hundred operators, so side by side they do more in the same time. Where there are
    fewer batches than cores, as for one text, a *wide* session over all cores may answer sooner. It is opened when such
    texts keep coming, and run where it has been faster of late.

    Every core has a narrow session to itself, if *apart*. In one session for all, what one core frees another is given
    next, still in the first one's cache, and for seconds on end both run a quarter slower. The first session is
    unpacked, to open soon. In time, or as a long call begins, one is packed; the others share the unpacked weights in
    memory, unless there is but one of them, which would save nothing. The vectors are bitwise the same.

    Args:
        first: a session of the graph, which takes one thread for each run, or ``cores`` of them where not *spread*; its
            weights are packed unless *apart*.
        open_again: another, which takes so many threads, with its weights packed or not; raises BundleError where the
            files are gone or no longer those of the first.
        cores: most to use.
        spread: whether to run batches side by side; a GPU takes them one by one.
        apart: whether to open unpacked sessions, one for each core: only where they give the same vectors.
    """

    def __init__(
        self,
        first: Session,
        open_again: Callable[[int, bool], Session],
        *,
        cores: int,
        spread: bool,
        apart: bool,
    ) -> None:
        self._open_again = open_again
        self._cores = cores if spread else 1
        self._apart = apart
        self._narrow = [first] if apart else [first] * self._cores
        self._idle = list(self._narrow)
        self._wide: Session | None = None
        self._opening = Semaphore(1)  # never released: one caller tries, once
        self._packing = Semaphore(cores if cores <= _FEW else 1)  # how many may yet be packed
        self._process = os.getpid()
        self._free = Semaphore(self._cores)  # cores, for batches side by side of all callers together
        self._rented = 0  # tokens so far that a wide session might have run faster
        self._pace = Pace()
        self._unpacked = 0  # runs so far that a packed session would have run faster

    def run(self, plan: Sequence[Batch], work: Callable[[Session, Batch], object]) -> None:
        """Call ``work`` with a session and each batch, on several threads at once; the first error ends it.

        Args:
            plan: the batches, the largest first.
            work: runs a batch on the session and keeps what comes out; safe to call from several threads.
        """
        if not plan or len(plan) >= self._cores:
            self._run_narrow(plan, work)
            return
        wide = self._open_wide(plan)
        shared = wide is not None and self._pace.shares(plan)
        start = perf_counter()
        if wide is not None and shared:
            for batch in plan:
                work(wide, batch)
        else:
            self._run_narrow(plan, work)
        if wide is not None:
            self._pace.note(plan, perf_counter() - start, shared=shared)

    def _run_narrow(self, plan: Sequence[Batch], work: Callable[[Session, Batch], object]) -> None:
        """A core for each batch."""
        self._notice_fork()
        if total_tokens(plan) >= _SURE_PACKING * self._cores:
            self._unpacked = max(self._unpacked, _WORTH_PACKING)
        waiting = deque(plan)
        tasks: list[BackgroundTask[None]] = []
        try:
            for _ in range(min(self._cores, len(plan)) - 1):
                tasks.append(BackgroundTask(lambda: self._drain(waiting, work)))
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
            while waiting:
                with self._borrow() as session:
                    try:
                        batch = waiting.popleft()
                    except IndexError:
                        return
                    work(session, batch)
        except BaseException:
            waiting.clear()
            raise

    @contextmanager
    def _borrow(self) -> Iterator[Session]:
        """A core, and a narrow session that nobody else runs meanwhile; the packed one, if it is idle."""
        with self._free:
            session = self._take()
            try:
                session = self._pack(session)  # an interrupt may come meanwhile
                yield session
            finally:
                self._idle.append(session)

    def _take(self) -> Session:
        idle = sorted(self._idle, key=lambda session: session.packed)
        while idle:
            session = idle.pop()
            with suppress(ValueError):  # another thread took it
                self._idle.remove(session)
                return session
        try:
            session = self._open_packed() or self._open_again(1, False)
        except BundleError:  # moved, deleted or replaced since
            return self._narrow[0]  # a session may be shared: it is only slower
        self._narrow.append(session)
        return session

    def _pack(self, session: Session) -> Session:
        """The session, or one that is packed in its place, once that is worth it and nobody else has done it."""
        if session.packed:
            return session
        self._unpacked += 1
        packed = self._open_packed()
        if packed is None:
            return session
        self._narrow[self._narrow.index(session)] = packed
        return packed

    def _open_packed(self) -> Session | None:
        """A packed session, once that is worth it and nobody else opens it; None too where it could not be opened."""
        if self._unpacked < _WORTH_PACKING or not self._packing.acquire(blocking=False):
            return None
        try:
            return self._open_again(1, True)
        except BundleError:
            return None
        except BaseException:  # an interrupt: the next run may try again
            self._packing.release()
            raise

    def _notice_fork(self) -> None:
        """Here, once, and not on every thread. The threads that held cores and sessions are not in a forked child."""
        if os.getpid() != self._process:
            self._narrow[0].reopen_after_fork()
            self._process, self._free, self._idle = os.getpid(), Semaphore(self._cores), list(self._narrow)

    def _open_wide(self, plan: Sequence[Batch]) -> Session | None:
        """The wide session, if it is open or worth it by now.

        None too where the bundle has been moved, deleted or replaced since: the narrow session needs no file.
        """
        if self._wide is None:
            self._rented += total_tokens(plan)
            if self._rented >= _WORTH_OPENING and self._opening.acquire(blocking=False):
                with suppress(BundleError):
                    self._wide = self._open_again(self._cores, True)
        return self._wide
