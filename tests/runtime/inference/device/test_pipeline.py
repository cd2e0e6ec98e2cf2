"""pipeline.py: chunks of texts, and results that are computed ahead."""

import sqlite3
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge.inference.device.pipeline import _CHARACTERS, chunk_by_characters, run_ahead


@given(st.lists(st.integers(0, 3 * _CHARACTERS), max_size=50))
def test_chunks_hold_every_text_once_in_order(lengths: list[int]) -> None:
    chunks = list(chunk_by_characters(lengths))
    assert [position for first, end in chunks for position in range(first, end)] == list(range(len(lengths)))
    assert all(first < end for first, end in chunks)


@given(st.lists(st.integers(0, 3 * _CHARACTERS), max_size=50))
def test_a_chunk_without_its_last_text_is_small(lengths: list[int]) -> None:
    for first, end in chunk_by_characters(lengths):
        assert sum(lengths[first : end - 1]) < _CHARACTERS


def test_results_come_in_order() -> None:
    assert list(run_ahead(iter(range(6)), lambda number: number * number, ahead=2)) == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_no_more_chunks_are_taken_than_ahead(ahead: int) -> None:
    taken: list[int] = []

    def chunks() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    for number in run_ahead(chunks(), lambda number: number, ahead=ahead):
        assert len(taken) <= number + 1 + ahead
    assert len(taken) == 10


def test_a_chunk_is_computed_while_the_caller_works_on_the_one_before() -> None:
    second = threading.Event()

    def note(number: int) -> int:
        if number == 1:
            second.set()
        return number

    results = run_ahead(iter(range(3)), note, ahead=1)
    assert next(results) == 0
    assert second.wait(10)
    assert list(results) == [1, 2]


def test_the_chunks_are_taken_on_the_callers_thread() -> None:
    """A cursor of sqlite3 refuses any other."""
    rows = sqlite3.connect(":memory:").execute("select 1 union select 2 union select 3")
    assert list(run_ahead(rows, lambda row: row[0], ahead=2)) == [1, 2, 3]


def test_an_error_comes_after_the_results_before_it() -> None:
    def fail_at_3(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        return number

    results = run_ahead(iter(range(9)), fail_at_3, ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)


def test_an_error_of_the_chunks_comes_after_the_results_before_it() -> None:
    def chunks() -> Iterator[int]:
        yield from range(3)
        raise KeyError

    results = run_ahead(chunks(), lambda number: number, ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)


def test_no_thread_outlives_a_caller_who_stops() -> None:
    running = threading.Semaphore(0)
    ended: list[int] = []

    def note(number: int) -> int:
        if number:
            assert running.acquire(timeout=10)
        ended.append(number)
        return number

    results = run_ahead(iter(range(5)), note, ahead=2)
    next(results)
    running.release(2)
    results.close()
    assert sorted(ended) == [0, 1, 2]


def test_the_first_chunk_is_computed_before_the_second_begins() -> None:
    """The caller waits for the first one, so nothing must slow it down."""
    running: list[int] = []

    def alone(number: int) -> int:
        running.append(number)
        assert running == [number]
        running.remove(number)
        return number

    assert list(run_ahead(iter(range(20)), alone, ahead=4)) == list(range(20))


def test_a_chunk_alone_needs_no_thread() -> None:
    """A query's time counts in milliseconds."""
    threads = list(run_ahead(iter([1]), lambda number: threading.current_thread(), ahead=2))
    assert threads == [threading.current_thread()]
    assert list(run_ahead(iter([]), lambda number: number, ahead=2)) == []
