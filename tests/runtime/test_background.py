"""background.py: what a function on another thread gives back, and what it sees of its caller."""

import subprocess
import sys
from contextvars import ContextVar

import numpy as np
import pytest

from embedge import Bundle, Embedder
from embedge.background import BackgroundTask

_place: ContextVar[str] = ContextVar("_place")


def test_it_returns_and_raises() -> None:
    assert BackgroundTask(lambda: 3).result() == 3
    with pytest.raises(ZeroDivisionError):
        BackgroundTask(lambda: 1 // 0).result()


def test_it_runs_in_the_callers_context() -> None:
    _place.set("caller's")
    assert BackgroundTask(_place.get).result() == "caller's"


def no_threads(*_: object) -> int:
    raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_had_the_one_who_waits_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.Thread.start", no_threads)
    called: list[int] = []
    task = BackgroundTask(lambda: called.append(1))
    assert not called
    assert task.wait()
    task.result()
    assert called == [1]


def test_a_model_is_loaded_and_used_where_no_thread_can_be_had(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["the cat", "a dog sat on a stone"] * 40
    expected = Embedder(tiny_bundle.path).encode(texts)
    monkeypatch.setattr("threading.Thread.start", no_threads)
    np.testing.assert_array_equal(Embedder(tiny_bundle.path).encode(texts), expected)


def test_callers_on_threads_that_gevent_does_not_know_wait_for_no_greenlet(tiny_bundle: Bundle) -> None:
    """Four callers in ``hub.threadpool`` waited for ever, 8 times in 9."""
    pytest.importorskip("gevent")
    code = """
from gevent import monkey
monkey.patch_all()
import gevent, sys
import numpy as np
from embedge import Embedder
model = Embedder(sys.argv[1])
texts = ["the cat " * (k % 9 + 1) for k in range(300)]
expected = model.encode(texts)
pool = gevent.get_hub().threadpool
for _ in range(20):
    for found in [pool.spawn(model.encode, texts) for _ in range(4)] + [gevent.spawn(model.encode, texts)]:
        assert np.array_equal(found.get(timeout=60), expected)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tiny_bundle.path)], check=True, timeout=300)
