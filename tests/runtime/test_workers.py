"""workers.py: which session runs which batch, with sessions that only say what they were asked."""

import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge import Embedder
from embedge.plan import Batch, plan_batches
from embedge.session import Session
from embedge.workers import Workers


class Stub:
    """A session that knows how many threads it has."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def reopen_after_fork(self) -> None:
        """There is nothing to reopen."""


def open_workers(cores: int, *, spread: bool = True) -> tuple[Workers, list[int]]:
    """Workers, and the threads of the sessions that they open."""
    opened: list[int] = []

    def open_session(threads: int) -> Session:
        opened.append(threads)
        return cast(Session, Stub(threads))

    return Workers(open_session, cores=cores, spread=spread), opened


def run(workers: Workers, plan: Sequence[Batch]) -> list[tuple[int, Batch]]:
    """Each batch with the threads of the session it was run on, in order of the ends."""
    done: list[tuple[int, Batch]] = []
    workers.run(plan, lambda session, batch: done.append((cast(Any, session).threads, batch)))
    return done


def one(tokens: int) -> tuple[Batch, ...]:
    return (Batch(tokens, (0,)),)


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 5))
def test_every_batch_is_run_once(counts: list[int], cores: int) -> None:
    workers, _ = open_workers(cores)
    plan = plan_batches(counts, batch_tokens=32)
    done = [batch for _, batch in run(workers, plan)]
    assert sorted(done, key=lambda batch: batch.members) == sorted(plan, key=lambda batch: batch.members)


def test_many_batches_run_at_once_each_on_one_core() -> None:
    """All three wait for each other, so they must be under way together."""
    workers, opened = open_workers(3)
    together = threading.Barrier(3, timeout=20)
    seen: set[int] = set()

    def work(session: Session, batch: Batch) -> None:
        seen.add(threading.get_ident())
        together.wait()

    workers.run([Batch(8, (n,)) for n in range(3)], work)
    assert len(seen) == 3
    assert opened == [1]


def test_single_texts_that_keep_coming_open_a_session_over_all_cores() -> None:
    workers, opened = open_workers(4)
    threads = [run(workers, one(300))[0][0] for _ in range(5)]
    assert threads == [1, 1, 1, 4, 4]  # 300, 600, 900, 1200 tokens
    assert opened == [1, 4]
    assert [threads for threads, _ in run(workers, [Batch(300, (n,)) for n in range(9)])] == [1] * 9


def test_a_short_text_stays_on_one_core() -> None:
    workers, opened = open_workers(4)
    assert [run(workers, one(15))[0][0] for _ in range(200)] == [1] * 200
    assert opened == [1]


@pytest.mark.parametrize(("cores", "spread", "expected"), [(1, True, [1]), (4, False, [4])])
def test_one_core_or_a_gpu_has_one_session(cores: int, spread: bool, expected: list[int]) -> None:
    workers, opened = open_workers(cores, spread=spread)
    for _ in range(9):
        run(workers, one(500))
        run(workers, [Batch(500, (n,)) for n in range(9)])
    assert opened == expected


@pytest.mark.parametrize("place", [0, 20])
def test_the_first_error_ends_it(place: int) -> None:
    """On whichever thread it happens: what is left is not run, and the error reaches the caller."""
    workers, _ = open_workers(3)
    done: list[int] = []

    def work(session: Session, batch: Batch) -> None:
        if batch.members[0] == place:
            raise MemoryError("no more")
        done.append(batch.members[0])

    with pytest.raises(MemoryError, match="no more"):
        workers.run([Batch(8, (n,)) for n in range(2000)], work)
    assert len(done) < 1999


def test_vectors_are_bitwise_the_same_on_either_session(tiny_bundle: Any) -> None:
    """Single texts before and after the wide session opens, and all in one call."""
    model = Embedder(tiny_bundle.path, precision="int8", threads=2)
    texts = ["the cat sat on mat and ran far away over blue river stone bread bake how do i", "the cat"] * 20
    before = model.encode(texts[0])
    single = np.stack([model.encode(text * 3) for text in texts])
    assert np.array_equal(model.encode([text * 3 for text in texts]), single)
    assert np.array_equal(model.encode(texts[0]), before)
