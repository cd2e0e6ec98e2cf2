"""Run batches on sessions: one batch on each core at the same time, or batch after batch on all cores."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from embedge.background import BackgroundTask, Semaphore
from embedge.errors import BundleError
from embedge.inference.plan import Batch, total_tokens
from embedge.inference.run_times import RunTimes

if TYPE_CHECKING:
    from embedge.inference.session import Session

# When to open a session for all cores, and when to prepack weights, is the ski-rental problem: renting costs a little
# each day, buying costs once, and nobody knows how many days are left. Rent until the rents add up to the price, then
# buy: the total is at most twice the best possible (Karlin, Manasse, Rudolph and Sleator 1988, "Competitive snoopy
# caching", Algorithmica 3).
# The price of a session for all cores, in tokens: opening it takes as long as two cores save on this many tokens. The
# rent: the tokens that waited for one core while other cores were idle.
_TOKENS_BEFORE_ALL_CORES = 512
# The price of a prepacked session, in runs of a session that prepacks the weights in every run.
_RUNS_BEFORE_PREPACKING = 16
# With this many tokens for each core in one call, prepacking saves more time than it takes (measured with up to 512
# tokens in a batch). Such a call prepacks when it begins. If it prepacked later, the buffers of both kinds of session
# would be in memory at the same time.
_TOKENS_TO_PREPACK_AT_ONCE = 4096
_FEW_CORES = 2  # with so many cores or fewer, every session may be prepacked


class Sessions(Protocol):
    """Opens sessions of one graph."""

    def open(self, *, threads: int, prepacked: bool) -> Session:
        """Open a session with a number of threads for each run, and with its weights prepacked or not.

        Raises:
            BundleError: the graph's files are gone, or are no longer those of the first session.
        """


class Workers:
    """The sessions of one graph, and the cores to run them on.

    A *one-thread* session uses one core for a run, and every core runs a batch of its own. Cores that share a run wait
    for each other after each of its hundred or so operators, so a batch on each core gets more done in the same time.
    If there are fewer batches than cores, as for one text, a session that uses *all cores* may answer sooner. It is
    opened when such calls keep coming, and used while it is the faster choice (see ``RunTimes``).

    With ``session_per_core`` every core has a one-thread session to itself. In a session that cores share, memory that
    one core frees goes to another core while it is still in the first core's cache. Both then run a quarter slower, for
    seconds. The first session is opened without prepacked weights, which is faster. After some runs, or when a long
    call begins, one session is replaced by a prepacked one. The others share the one copy of the weights that is mapped
    into memory; with two cores there is no other to share with, so both are prepacked. The vectors are the same, bit
    for bit.

    Args:
        first: a session of the graph. If ``parallel``, it uses one thread for each run, else ``cores`` threads. Its
            weights are prepacked unless ``session_per_core``.
        sessions: opens more sessions of the same graph.
        cores: the largest number of cores to use.
        parallel: whether to run several batches at the same time; a GPU runs one batch after the other.
        session_per_core: whether to open a session for each core, without prepacked weights; only for graphs whose
            vectors do not depend on prepacking.
    """

    def __init__(
        self, first: Session, sessions: Sessions, *, cores: int, parallel: bool, session_per_core: bool
    ) -> None:
        self._sessions = sessions
        self._cores = cores if parallel else 1
        self._one_thread = [first] if session_per_core else [first] * self._cores
        self._idle = list(self._one_thread)
        self._all_cores: Session | None = None
        self._may_open_all_cores = Semaphore(1)  # never released: one caller tries, once
        self._may_prepack = Semaphore(cores if cores <= _FEW_CORES else 1)  # one permit for each session to prepack
        self._process = os.getpid()
        self._free_cores = Semaphore(self._cores)  # shared by all callers
        self._tokens_waited = 0  # so far, in runs that all cores might have made faster
        self._runs_unpacked = 0  # so far, in runs that a prepacked session would have made faster
        self._run_times = RunTimes()

    def run(self, plan: Sequence[Batch], run_batch: Callable[[Session, Batch], object]) -> None:
        """Call ``run_batch`` with a session and each batch, on several threads; the first error ends the call.

        Args:
            plan: the batches, the largest first.
            run_batch: runs a batch on the session and stores the result; must be safe to call from several threads.
        """
        if not plan or len(plan) >= self._cores:
            self._run_in_parallel(plan, run_batch)
            return
        all_cores = self._open_all_cores(plan)
        is_shared = all_cores is not None and self._run_times.prefer_all_cores(plan)
        start = perf_counter()
        if all_cores is not None and is_shared:
            for batch in plan:
                run_batch(all_cores, batch)
        else:
            self._run_in_parallel(plan, run_batch)
        if all_cores is not None:
            self._run_times.record(plan, perf_counter() - start, all_cores=is_shared)

    @property
    def cores(self) -> int:
        """How many batches may run at the same time: 1 on a GPU."""
        return self._cores

    def run_on_one_core(self, plan: Sequence[Batch], run_batch: Callable[[Session, Batch], object]) -> None:
        """Call ``run_batch`` with a session and each batch, one after the other on this thread, on one core.

        It waits while all cores are taken. The first error ends the call.
        """
        self._recover_from_fork()
        self._run_waiting(deque(plan), run_batch)

    def _run_in_parallel(self, plan: Sequence[Batch], run_batch: Callable[[Session, Batch], object]) -> None:
        """Run each batch on one core, several batches at the same time."""
        self._recover_from_fork()
        if total_tokens(plan) >= _TOKENS_TO_PREPACK_AT_ONCE * self._cores:
            self._runs_unpacked = max(self._runs_unpacked, _RUNS_BEFORE_PREPACKING)
        waiting = deque(plan)
        tasks: list[BackgroundTask[None]] = []
        try:
            for _ in range(min(self._cores, len(plan)) - 1):
                tasks.append(BackgroundTask(lambda: self._run_waiting(waiting, run_batch)))
            self._run_waiting(waiting, run_batch)  # this thread works, too
        finally:
            waiting.clear()  # empty already, unless an interrupt came
            for task in tasks:
                task.wait()
        for task in tasks:
            task.result()

    def _run_waiting(self, waiting: deque[Batch], run_batch: Callable[[Session, Batch], object]) -> None:
        """Run batches until none waits; after an error, no thread starts another one."""
        try:
            while waiting:
                with self._borrow() as session:
                    try:
                        batch = waiting.popleft()
                    except IndexError:
                        return
                    run_batch(session, batch)
        except BaseException:
            waiting.clear()
            raise

    @contextmanager
    def _borrow(self) -> Iterator[Session]:
        """A free core, and a one-thread session that no other thread runs meanwhile."""
        with self._free_cores:
            session = self._take_idle()
            try:
                session = self._prepack(session)  # an interrupt may come meanwhile
                yield session
            finally:
                self._idle.append(session)

    def _take_idle(self) -> Session:
        """An idle session, a prepacked one if there is one, or a new session."""
        idle = sorted(self._idle, key=lambda session: session.prepacked)
        while idle:
            session = idle.pop()
            with suppress(ValueError):  # another thread took it
                self._idle.remove(session)
                return session
        try:
            session = self._open_prepacked() or self._sessions.open(threads=1, prepacked=False)
        except BundleError:  # the files were moved, deleted or replaced
            return self._one_thread[0]  # two threads may share a session; that is only slower
        self._one_thread.append(session)
        return session

    def _prepack(self, session: Session) -> Session:
        """The session, or a prepacked one in its place, if that is due and no other thread opens one."""
        if session.prepacked:
            return session
        self._runs_unpacked += 1
        prepacked = self._open_prepacked()
        if prepacked is None:
            return session
        self._one_thread[self._one_thread.index(session)] = prepacked
        return prepacked

    def _open_prepacked(self) -> Session | None:
        """A new prepacked session; None if it is not due, another thread opens one, or it cannot be opened."""
        if self._runs_unpacked < _RUNS_BEFORE_PREPACKING or not self._may_prepack.acquire(blocking=False):
            return None
        try:
            return self._sessions.open(threads=1, prepacked=True)
        except BundleError:
            return None
        except BaseException:  # an interrupt: the next run may try again
            self._may_prepack.release()
            raise

    def _recover_from_fork(self) -> None:
        """In a forked child, reopen the first session and free all cores: the threads that used them are gone."""
        if os.getpid() != self._process:
            self._one_thread[0].reopen_after_fork()
            self._process, self._free_cores = os.getpid(), Semaphore(self._cores)
            self._idle = list(self._one_thread)

    def _open_all_cores(self, plan: Sequence[Batch]) -> Session | None:
        """The session for all cores, which is opened when it is due; else None.

        It stays None if the bundle's files were moved, deleted or replaced; one-thread sessions go on without them.
        """
        if self._all_cores is None:
            self._tokens_waited += total_tokens(plan)
            if self._tokens_waited >= _TOKENS_BEFORE_ALL_CORES and self._may_open_all_cores.acquire(blocking=False):
                with suppress(BundleError):
                    self._all_cores = self._sessions.open(threads=self._cores, prepacked=True)
        return self._all_cores
