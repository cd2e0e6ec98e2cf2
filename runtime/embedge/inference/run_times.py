"""One thread or all cores for a few batches: the choice that was faster in the latest runs."""

from collections.abc import Sequence

from embedge.inference.plan import Batch, total_tokens

_REMEMBERED = 5  # latest runs of each choice; their median is compared
_TRIAL_RUNS = 3  # enough new times to change that median
# Runs; the last _TRIAL_RUNS of them try the slower choice again. The first times are of cold caches and of weights that
# are not packed, so the first period is short, and each of the next is twice as long.
_FIRST_TRIAL_PERIOD, _TRIAL_PERIOD = 16, 512

Size = tuple[int, int]  # number of batches, and bit length of their number of tokens


class RunTimes:
    """The latest run times of plans with fewer batches than cores, on one thread for each batch and on all cores.

    For long texts all cores are faster. For a few tokens it depends on how soon a sleeping core wakes up. If
    queries follow each other closely, that takes less than a tenth of the run. On a virtual machine that is idle
    between queries, it takes longer than the whole run. Nothing predicts this, so both choices are timed, separately
    for each size of plan.
    """

    def __init__(self) -> None:
        self._seconds_per_token: dict[tuple[Size, bool], tuple[float, ...]] = {}
        self._runs: dict[Size, int] = {}

    def prefer_all_cores(self, plan: Sequence[Batch]) -> bool:
        """Whether to run a plan on all cores: the choice that was faster, and from time to time the slower one."""
        size = _size(plan)
        all_cores, one_thread = (self._seconds_per_token.get((size, choice), ()) for choice in (True, False))
        if min(len(all_cores), len(one_thread)) < _REMEMBERED:
            return len(all_cores) <= len(one_thread)
        run = self._runs.get(size, 0)
        self._runs[size] = run + 1
        return (_median(all_cores) < _median(one_thread)) ^ _is_trial(run)

    def record(self, plan: Sequence[Batch], seconds: float, *, all_cores: bool) -> None:
        """Record how long a plan took. Several threads may call this; a race loses one time at most."""
        key = _size(plan), all_cores
        per_token = seconds / total_tokens(plan)
        self._seconds_per_token[key] = (*self._seconds_per_token.get(key, ()), per_token)[-_REMEMBERED:]


def _is_trial(run: int) -> bool:
    """Whether a run, counted from 0, tries the slower choice.

    >>> [run for run in range(1600) if _is_trial(run)][::3]
    [13, 29, 61, 125, 253, 509, 1021, 1533]
    """
    period = min(max(1 << run.bit_length(), _FIRST_TRIAL_PERIOD), _TRIAL_PERIOD)
    return run % period >= period - _TRIAL_RUNS


def _median(seconds: Sequence[float]) -> float:
    """The median of an odd number of times; importing ``statistics`` for it would take 4 ms."""
    return sorted(seconds)[len(seconds) // 2]


def _size(plan: Sequence[Batch]) -> Size:
    return len(plan), total_tokens(plan).bit_length()
