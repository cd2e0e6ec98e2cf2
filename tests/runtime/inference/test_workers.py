"""workers.py: which session runs which batch, with sessions that only say what they were asked."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge import Bundle, Embedder
from embedge.background import BackgroundTask
from embedge.errors import BundleCorruptError, BundleError
from embedge.inference.plan import Batch, plan_batches
from embedge.inference.session import Session
from embedge.inference.workers import Workers
from embedge_export import export


class Stub:
    """A session that knows how it was opened."""

    def __init__(self, threads: int, prepacked: bool) -> None:
        self.threads = threads
        self.prepacked = prepacked

    def reopen_after_fork(self) -> None:
        """There is nothing to reopen."""


class Sessions:
    """Opens stubs, and records threads of each and whether it was prepacked; ``before`` is called before that."""

    def __init__(self) -> None:
        self.opened: list[tuple[int, bool]] = []
        self.before: Callable[[bool], object] = lambda prepacked: None

    def open(self, *, threads: int, prepacked: bool) -> Session:
        self.before(prepacked)
        self.opened.append((threads, prepacked))
        return cast(Session, Stub(threads, prepacked))


def open_workers(cores: int, *, parallel: bool = True, session_per_core: bool = False) -> tuple[Workers, Sessions]:
    """Workers, and what opens their sessions."""
    sessions = Sessions()
    first = sessions.open(threads=1 if parallel else cores, prepacked=not session_per_core)
    workers = Workers(first, sessions, cores=cores, parallel=parallel, session_per_core=session_per_core)
    return workers, sessions


def run(workers: Workers, plan: Sequence[Batch]) -> list[tuple[int, Batch]]:
    """Each batch with the threads of the session it was run on, in order of the ends."""
    done: list[tuple[int, Batch]] = []
    workers.run(plan, lambda session, batch: done.append((cast(Any, session).threads, batch)))
    return done


def on_two_cores() -> tuple[list[bool], Callable[[Session, Batch], None]]:
    """Work that two cores do side by side, and of each batch whether its session was prepacked."""
    together, prepacked = threading.Barrier(2, timeout=20), list[bool]()

    def work(session: Session, batch: Batch) -> None:
        together.wait()
        prepacked.append(session.prepacked)

    return prepacked, work


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
    workers, sessions = open_workers(3)
    together = threading.Barrier(3, timeout=20)
    seen: set[int] = set()

    def work(session: Session, batch: Batch) -> None:
        seen.add(threading.get_ident())
        together.wait()

    workers.run([Batch(8, (n,)) for n in range(3)], work)
    assert len(seen) == 3
    assert sessions.opened == [(1, True)]


def test_single_texts_that_keep_coming_open_a_session_over_all_cores() -> None:
    workers, sessions = open_workers(4)
    threads = [run(workers, one(150))[0][0] for _ in range(4)]
    assert threads == [1, 1, 1, 4]  # 150, 300, 450, 600 tokens
    assert sessions.opened == [(1, True), (4, True)]
    assert [threads for threads, _ in run(workers, [Batch(300, (n,)) for n in range(9)])] == [1] * 9


def test_each_core_has_a_session_of_its_own_and_one_is_prepacked_in_time() -> None:
    """Never is a session run by two threads at once, and once there are enough no more are opened."""
    workers, sessions = open_workers(3, session_per_core=True)
    together = threading.Barrier(3, timeout=20)
    running: list[Session] = []

    def work(session: Session, batch: Batch) -> None:
        running.append(session)
        together.wait()
        assert len(set(running)) == 3
        together.wait()
        running.clear()
        together.wait()

    for _ in range(8):
        workers.run([Batch(8, (n,)) for n in range(3)], work)
    assert sorted(sessions.opened) == [(1, False)] * 3 + [(1, True)]
    assert sessions.opened.index((1, True)) == 3


def test_of_two_cores_both_are_prepacked_in_time() -> None:
    """One session that is not prepacked would take as much memory."""
    workers, sessions = open_workers(2, session_per_core=True)
    prepacked, work = on_two_cores()
    for _ in range(20):
        workers.run([Batch(8, (n,)) for n in range(2)], work)
    assert sorted(sessions.opened) == [(1, False)] * 2 + [(1, True)] * 2
    assert prepacked[-8:] == [True] * 8


def test_a_call_that_is_long_enough_is_prepacked_from_its_start() -> None:
    """Else the buffers of sessions that are not prepacked would be in memory beside those that replace them."""
    workers, sessions = open_workers(2, session_per_core=True)
    prepacked, work = on_two_cores()
    workers.run([Batch(512, (n,)) for n in range(16)], work)
    assert prepacked == [True] * 16
    assert sorted(sessions.opened) == [(1, False), (1, True), (1, True)]  # the first is open before there is any call


@pytest.mark.parametrize(("cores", "batches"), [(1, 7), (2, 15)])
def test_a_call_that_is_too_short_for_it_is_not_prepacked(cores: int, batches: int) -> None:
    workers, sessions = open_workers(cores, session_per_core=True)
    workers.run([Batch(512, (n,)) for n in range(batches)], lambda session, batch: None)
    assert {prepacked for _, prepacked in sessions.opened} == {False}


def test_where_none_can_be_prepacked_each_core_still_has_a_session_of_its_own() -> None:
    """As for lack of memory."""
    workers, sessions = open_workers(2, session_per_core=True)
    together, seen = threading.Barrier(2, timeout=20), set()

    def refuse_prepacked(prepacked: bool) -> None:
        if prepacked:
            raise BundleError("out of memory")

    def work(session: Session, batch: Batch) -> None:
        together.wait()
        seen.add(session)

    sessions.before = refuse_prepacked
    workers.run([Batch(512, (n,)) for n in range(16)], work)
    assert len(seen) == 2
    assert sessions.opened == [(1, False)] * 2


def test_queries_that_keep_coming_are_run_prepacked() -> None:
    workers, sessions = open_workers(2, session_per_core=True)
    prepacked: list[bool] = []
    for _ in range(20):
        workers.run(one(8), lambda session, batch: prepacked.append(session.prepacked))
    assert prepacked == [False] * 15 + [True] * 5
    assert sessions.opened == [(1, False), (1, True)]


@pytest.mark.parametrize("cores", [1, 3])
def test_a_session_that_cannot_be_opened_later_is_done_without(cores: int) -> None:
    workers, sessions = open_workers(cores, session_per_core=True)

    def refuse(prepacked: bool) -> None:
        raise BundleError("replaced since")

    sessions.before = refuse
    for _ in range(9):
        assert len(run(workers, [Batch(8, (n,)) for n in range(9)])) == 9
    assert sessions.opened == [(1, False)]


def test_an_interrupt_while_a_session_is_prepacked_loses_none() -> None:
    workers, sessions = open_workers(1, session_per_core=True)
    open_at_once = sessions.before

    def interrupted(prepacked: bool) -> None:
        raise KeyboardInterrupt

    for _ in range(15):
        run(workers, one(8))
    sessions.before = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(workers, one(8))
    sessions.before = open_at_once
    run(workers, one(8))
    assert sessions.opened == [(1, False), (1, True)]  # nor what it was about to open


@pytest.mark.parametrize("faster", [1, 4])
def test_single_texts_are_run_by_the_choice_that_is_faster(faster: int) -> None:
    """Once both choices are timed, but for a trial now and then."""
    workers, _ = open_workers(4)
    threads: list[int] = []

    def work(session: Session, batch: Batch) -> None:
        threads.append(cast(Any, session).threads)
        time.sleep(0 if threads[-1] == faster else 0.01)

    for _ in range(80):
        workers.run(one(15), work)
    assert threads[-30:].count(faster) == 24  # the others are two trials of three runs


@pytest.mark.parametrize(("cores", "parallel", "expected"), [(1, True, 1), (4, False, 4)])
def test_one_core_or_a_gpu_has_one_session(cores: int, parallel: bool, expected: int) -> None:
    workers, sessions = open_workers(cores, parallel=parallel)
    for _ in range(9):
        run(workers, one(500))
        run(workers, [Batch(500, (n,)) for n in range(9)])
    assert sessions.opened == [(expected, True)]


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


def test_an_interrupt_while_threads_start_does_not_wait_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, _ = open_workers(3)
    started: list[BackgroundTask[None]] = []
    done: list[int] = []

    def start(function: Callable[[], None]) -> BackgroundTask[None]:
        if started:
            raise KeyboardInterrupt
        started.append(BackgroundTask(function))
        return started[0]

    def work(session: Session, batch: Batch) -> None:
        time.sleep(0.001)
        done.append(batch.members[0])

    monkeypatch.setattr("embedge.inference.workers.BackgroundTask", start)
    with pytest.raises(KeyboardInterrupt):
        workers.run([Batch(8, (n,)) for n in range(2000)], work)
    assert len(done) < 2000


def test_callers_at_once_open_one_session_over_all_cores() -> None:
    workers, sessions = open_workers(4)

    def call(prepacked: bool) -> None:
        """While it opens, another thread calls, and is served by the one-thread session."""
        with ThreadPoolExecutor(1) as other:
            assert other.submit(run, workers, one(2000)).result(timeout=20)[0][0] == 1

    sessions.before = call
    assert run(workers, one(2000))[0][0] == 4
    assert sessions.opened == [(1, True), (4, True)]


def test_callers_at_once_share_the_cores() -> None:
    """Four callers with eight batches each, two cores: never are there three runs at once."""
    workers, _ = open_workers(2)
    lock, now, most, done = threading.Lock(), 0, 0, 0

    def work(session: Session, batch: Batch) -> None:
        nonlocal now, most, done
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
            done += 1

    callers = [BackgroundTask(lambda: workers.run([Batch(8, (n,)) for n in range(8)], work)) for _ in range(4)]
    for caller in callers:
        caller.result()
    assert (most, done) == (2, 32)


@pytest.mark.parametrize("threads", [1, 2])
def test_vectors_are_bitwise_the_same_on_every_session(tiny_bundle: Any, threads: int) -> None:
    """One by one, before and after the prepacked and the all-cores session open; and on each core at the same time."""
    model = Embedder(tiny_bundle.path, precision="int8", threads=threads)
    text = "the cat sat on mat and ran far away over blue river stone bread bake how do i "
    texts = [text * 3, "the cat", text] * 20
    single = np.stack([model.encode(text) for text in texts])
    workers = model._engine.workers
    assert workers._one_thread[0].prepacked
    assert (workers._all_cores is not None) == (threads == 2)
    assert np.array_equal(model.encode(texts, batch_tokens=64), single)
    assert np.array_equal(np.stack([model.encode(text) for text in texts]), single)
    assert all(session.prepacked for session in workers._one_thread)


@pytest.mark.parametrize("other", [False, True])
def test_a_bundle_that_is_gone_or_another_by_now_changes_no_vector(
    tiny_bundle: Bundle, make_checkpoint: Callable[..., Path], tmp_path: Path, other: bool
) -> None:
    """The session for all cores would be opened from files that were never checked."""
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))
    model = Embedder(folder, precision="fp32", threads=2)
    text = "the cat sat on mat and ran far away over blue river stone bread bake " * 3
    expected = model.encode(text)
    folder.rename(tmp_path / "aside")
    if other:
        export(make_checkpoint(seed=1), folder, precisions=("fp32",), verify=False)
        assert not np.array_equal(Embedder(folder).encode(text), expected)
    for _ in range(40):  # some 1,600 tokens
        np.testing.assert_array_equal(model.encode(text), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_forked_child_does_not_embed_with_another_bundle(
    tiny_bundle: Bundle, make_checkpoint: Callable[..., Path], tmp_path: Path, precision: Any
) -> None:
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))
    _INHERITED["model"] = Embedder(folder, precision=precision, threads=2)
    folder.rename(tmp_path / "aside")
    export(make_checkpoint(seed=1), folder, precisions=(precision,), verify=False)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for _ in range(2):
            with pytest.raises(BundleCorruptError):
                pool.apply_async(_encode_inherited, ("the cat",)).get(timeout=20)


_INHERITED: dict[str, Embedder] = {}  # by the child; an argument would be pickled


def _encode_inherited(text: str) -> Any:
    return _INHERITED["model"].encode(text)


def test_a_relative_path_outlives_a_change_of_directory(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_bundle.path.parent)
    model = Embedder(tiny_bundle.path.name, threads=2)
    monkeypatch.chdir(tmp_path)
    for _ in range(40):
        model.encode("the cat sat on mat and ran far away over blue river stone bread bake " * 3)
    assert model._engine.workers._all_cores is not None
    assert pickle.loads(pickle.dumps(model)).dimension == model.dimension


def test_a_thread_may_encode_after_the_main_thread_has_ended(tiny_bundle: Bundle) -> None:
    code = f"""
import threading
from embedge import Embedder
model, main = Embedder({str(tiny_bundle.path)!r}, threads=2), threading.current_thread()

def encode():
    main.join()
    print(model.encode(["the cat " * n for n in range(1, 20)]).shape)

threading.Thread(target=encode).start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(19, 32)\n", done.stderr
