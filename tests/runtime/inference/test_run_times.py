"""run_times.py: the choice that is faster of late is taken, whatever was faster before."""

from embedge.inference.plan import Batch
from embedge.inference.run_times import RunTimes

SHORT, LONG = (Batch(8, (0,)),), (Batch(300, (0,)),)


def play(times: RunTimes, plan: tuple[Batch, ...], runs: int, *, all_cores: float, one_thread: float) -> list[bool]:
    """For each of so many runs, whether it takes all cores; the arguments are seconds of a run."""
    chosen = []
    for _ in range(runs):
        chosen.append(times.prefer_all_cores(plan))
        times.record(plan, all_cores if chosen[-1] else one_thread, all_cores=chosen[-1])
    return chosen


def test_both_choices_are_tried_before_one_is_preferred() -> None:
    first = play(RunTimes(), SHORT, 10, all_cores=1, one_thread=2)
    assert (first[0], first.count(True), first.count(False)) == (True, 5, 5)


def test_the_faster_choice_is_taken_and_the_other_tried_now_and_then() -> None:
    for all_cores, one_thread in ((1, 2), (2, 1)):
        chosen = play(RunTimes(), SHORT, 1034, all_cores=all_cores, one_thread=one_thread)[10:]
        assert chosen.count(all_cores < one_thread) == 1003
        assert chosen.count(all_cores > one_thread) == 21  # after 16, 32, 64, 128, 256, 512 and 1,024 runs


def test_a_choice_that_has_become_fast_is_taken_after_one_trial() -> None:
    times = RunTimes()
    play(times, SHORT, 10, all_cores=9, one_thread=2)
    assert all(play(times, SHORT, 600, all_cores=1, one_thread=2)[512:])


def test_a_choice_that_was_slow_only_at_first_is_taken_soon() -> None:
    """Its first runs are of cold caches and weights that are not packed."""
    times = RunTimes()
    play(times, SHORT, 10, all_cores=9, one_thread=2)
    assert all(play(times, SHORT, 28, all_cores=1, one_thread=2)[16:])


def test_a_choice_that_has_become_slow_is_left_within_five_runs() -> None:
    times = RunTimes()
    play(times, SHORT, 100, all_cores=1, one_thread=2)
    assert not any(play(times, SHORT, 20, all_cores=9, one_thread=2)[5:])


def test_one_slow_run_changes_nothing() -> None:
    times = RunTimes()
    play(times, SHORT, 100, all_cores=1, one_thread=2)
    times.record(SHORT, 50, all_cores=True)
    assert all(play(times, SHORT, 20, all_cores=1, one_thread=2))


def test_each_size_has_its_own_choice() -> None:
    times = RunTimes()
    play(times, SHORT, 50, all_cores=2, one_thread=1)
    play(times, LONG, 50, all_cores=1, one_thread=2)
    assert (times.prefer_all_cores(SHORT), times.prefer_all_cores(LONG)) == (False, True)
