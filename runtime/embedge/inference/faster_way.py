"""One core or all of them for a few texts: whichever was faster of late."""

from collections.abc import Sequence

from embedge.inference.plan import Batch, total_tokens

_REMEMBERED = 5  # runs of each way
_TRIED = 3  # runs that are enough to change the median
_AGAIN = 512  # runs of which the last are such a trial of the slower way

Size = tuple[int, int]  # batches, and binary digits of their tokens


class Pace:
    """How long plans took of late, one core for each batch or all cores for one after the other.

    All cores are faster for long texts. For a few tokens it depends on how soon a core that sleeps wakes: within a
    tenth of a run where queries follow each other, later than the run would have ended on a virtual machine that is
    idle in between. That nobody knows beforehand, so both ways are timed, for each size of plan apart.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[Size, bool], tuple[float, ...]] = {}
        self._runs: dict[Size, int] = {}

    def shares(self, plan: Sequence[Batch]) -> bool:
        """Whether to run a plan on all cores; now and then the slower way is tried."""
        size = _size(plan)
        shared, alone = (self._seconds.get((size, way), ()) for way in (True, False))
        if min(len(shared), len(alone)) < _REMEMBERED:
            return len(shared) <= len(alone)
        is_trial = (run := self._runs.get(size, 0)) >= _AGAIN - _TRIED
        self._runs[size] = (run + 1) % _AGAIN
        return (_median(shared) < _median(alone)) ^ is_trial

    def note(self, plan: Sequence[Batch], seconds: float, *, shared: bool) -> None:
        """A plan took so long, on all cores or not. Safe to call from several threads: what one loses is one time."""
        key = _size(plan), shared
        per_token = seconds / total_tokens(plan)
        self._seconds[key] = (*self._seconds.get(key, ()), per_token)[-_REMEMBERED:]


def _median(seconds: Sequence[float]) -> float:
    """Of an odd number; ``statistics`` takes 4 ms to import."""
    return sorted(seconds)[len(seconds) // 2]


def _size(plan: Sequence[Batch]) -> Size:
    return len(plan), total_tokens(plan).bit_length()
