"""Batches to cores: a few batches go one by one over all cores, many go to all cores side by side, one core each."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from embedge.plan import Batch
from embedge.session import Session

# Tokens of a call, for each core, from which a second session pays: opening it takes as long as some 500 tokens do.
_WORTH_OPENING = 2048


class Workers:
    """The sessions of one graph, and the cores to run them on.

    One run on all cores answers soonest; for many batches a core for each run does more in the same time, since cores
    that share a run wait for one another after each of its some hundred operators. So there is a *wide* session, and
    from the first long call on a *narrow* one, which all cores run at once. The vectors are bitwise the same.

    Args:
        open_session: a session of the graph that takes so many threads for each run.
        cores: most to use.
        spread: whether to run batches side by side at all; a GPU takes them one by one.
    """

    def __init__(self, open_session: Callable[[int], Session], *, cores: int, spread: bool) -> None:
        self._open = open_session
        self._cores = cores
        self._spread = spread and cores > 1
        self._wide = open_session(cores)
        self._narrow: Session | None = None

    def run(self, plan: Sequence[Batch], work: Callable[[Session, Batch], object]) -> None:
        """Call ``work`` with a session and each batch, on several threads at once; the first error ends it.

        Args:
            plan: the batches, the longest first.
            work: runs a batch on the session, and keeps what comes out; safe to call from several threads.
        """
        narrow = self._pick_narrow(plan)
        waiting = deque(plan)
        if narrow is None:
            _drain(waiting, self._wide, work)
            return
        narrow.reopen_after_fork()  # here, once, and not on every thread
        others = min(self._cores, len(plan)) - 1
        with ThreadPoolExecutor(others) as threads:  # and this one
            tasks = [threads.submit(_drain, waiting, narrow, work) for _ in range(others)]
            _drain(waiting, narrow, work)
        for task in tasks:
            task.result()

    def _pick_narrow(self, plan: Sequence[Batch]) -> Session | None:
        """The session for batches side by side; None where they are few."""
        if not self._spread or len(plan) < self._cores:
            return None
        tokens = sum(batch.tokens * len(batch.members) for batch in plan)
        if self._narrow is None and tokens >= _WORTH_OPENING * self._cores:
            self._narrow = self._open(1)  # two callers at once may each open one; the later is kept
        return self._narrow


def _drain(waiting: deque[Batch], session: Session, work: Callable[[Session, Batch], object]) -> None:
    """Take batches until there are none; whoever fails takes the rest away from all."""
    try:
        while waiting:
            try:
                batch = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            work(session, batch)
    except BaseException:
        waiting.clear()
        raise
