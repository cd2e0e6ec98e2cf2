"""faster_way.py: the faster way is taken, whatever it was before."""

from embedge.inference.faster_way import Pace
from embedge.inference.plan import Batch

SHORT, LONG = (Batch(8, (0,)),), (Batch(300, (0,)),)


def play(pace: Pace, plan: tuple[Batch, ...], runs: int, *, shared: float, alone: float) -> list[bool]:
    """The choices of so many runs, where either way takes so many seconds."""
    chosen = []
    for _ in range(runs):
        chosen.append(pace.shares(plan))
        pace.note(plan, shared if chosen[-1] else alone, shared=chosen[-1])
    return chosen


def test_both_ways_are_tried_before_one_is_chosen() -> None:
    first = play(Pace(), SHORT, 10, shared=1, alone=2)
    assert (first[0], first.count(True), first.count(False)) == (True, 5, 5)


def test_the_faster_way_is_taken_and_the_other_tried_now_and_then() -> None:
    for shared, alone in ((1, 2), (2, 1)):
        chosen = play(Pace(), SHORT, 1034, shared=shared, alone=alone)[10:]
        assert chosen.count(shared < alone) == 1018
        assert chosen.count(shared > alone) == 6


def test_a_way_that_has_become_fast_is_found_by_one_trial() -> None:
    pace = Pace()
    play(pace, SHORT, 10, shared=9, alone=2)
    assert all(play(pace, SHORT, 600, shared=1, alone=2)[512:])


def test_a_way_that_has_become_slow_is_left_within_five_runs() -> None:
    pace = Pace()
    play(pace, SHORT, 100, shared=1, alone=2)
    assert not any(play(pace, SHORT, 20, shared=9, alone=2)[5:])


def test_one_slow_run_changes_nothing() -> None:
    pace = Pace()
    play(pace, SHORT, 100, shared=1, alone=2)
    pace.note(SHORT, 50, shared=True)
    assert all(play(pace, SHORT, 20, shared=1, alone=2))


def test_each_size_has_its_own_choice() -> None:
    pace = Pace()
    play(pace, SHORT, 50, shared=2, alone=1)
    play(pace, LONG, 50, shared=1, alone=2)
    assert (pace.shares(SHORT), pace.shares(LONG)) == (False, True)
