"""task.py: what a function on another thread gives back, and what it sees of its caller."""

from contextvars import ContextVar

import pytest

from embedge.task import Task

_place: ContextVar[str] = ContextVar("_place")


def test_it_returns_and_raises() -> None:
    assert Task(lambda: 3).result() == 3
    with pytest.raises(ZeroDivisionError):
        Task(lambda: 1 // 0).result()


def test_it_runs_in_the_callers_context() -> None:
    _place.set("caller's")
    assert Task(_place.get).result() == "caller's"
