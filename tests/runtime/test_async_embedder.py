"""AsyncEmbedder: its answers are those of Embedder, whoever else asks; its queue is bounded, and can be left."""

import asyncio
import inspect
import os
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from embedge import (
    AsyncEmbedder,
    AsyncReranker,
    Bundle,
    BundleError,
    Embedder,
    InputTypeError,
    InputValueError,
    OverloadedError,
    Reranker,
    TruncationWarning,
)

WORDS = "the cat sat on a mat and looked at dogs in gardens while rain fell over hills".split()
LONG = "the cat sat on the mat " * 40


def random_requests(count: int) -> list[tuple[list[str], dict[str, Any]]]:
    draw = random.Random(7)
    return [
        (
            [
                " ".join(draw.choices(WORDS, k=draw.choice([1, 3, 5, 8, 8, 20])))
                for _ in range(draw.choice([1, 1, 1, 3, 20]))
            ],
            {
                "normalize": draw.choice([True, False]),
                "batch_size": draw.choice([None, None, 2]),
                "truncate_dim": draw.choice([None, None, 16]),
                "precision": draw.choice(["float32", "float32", "ubinary"]),
            },
        )
        for _ in range(count)
    ]


@pytest.fixture(params=[("int8", 1), ("int8", 2), ("fp32", 2)], ids=str)
def plain(tiny_bundle: Bundle, request: pytest.FixtureRequest) -> Embedder:
    precision, threads = request.param
    return Embedder(tiny_bundle.path, precision=precision, threads=threads)


class Blocked:
    """Holds every run of a model until ``go``, and counts the rows of each batch."""

    def __init__(self, model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
        from embedge.inference.session import Session

        self.go, self.rows = Event(), []
        run = Session.run

        def wait(session: Session, batch: Any, output: str) -> Any:
            self.rows.append(len(batch.members))
            assert self.go.wait(30)
            return run(session, batch, output)

        monkeypatch.setattr(Session, "run", wait)

    async def until_running(self, count: int = 1) -> None:
        while len(self.rows) < count:
            await asyncio.sleep(0.001)


@pytest.fixture
def one(tiny_bundle: Bundle) -> Embedder:
    return Embedder(tiny_bundle.path, threads=1)


async def settle(model: AsyncEmbedder, texts: int) -> None:
    """Wait until so many texts wait, all of them tokenised."""
    async with asyncio.timeout(30):
        while model._scheduler._waiting.texts != texts:
            await asyncio.sleep(0.001)


def test_a_thousand_mixed_requests_have_the_plain_vectors_bit_for_bit(plain: Embedder) -> None:
    requests = random_requests(1000)
    other = Embedder(plain.bundle.path, precision=plain.precision, threads=1)

    async def ask() -> list[Any]:
        async with AsyncEmbedder.from_embedder(plain) as model:
            return await asyncio.gather(*(model.encode(texts, **options) for texts, options in requests))

    for (texts, options), found in zip(requests, asyncio.run(ask()), strict=True):
        expected = other.encode(texts, **options)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_requests_share_batches_only_while_all_slots_are_busy(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(one, monkeypatch)

    async def ask() -> None:
        model = AsyncEmbedder.from_embedder(one)
        first = asyncio.create_task(model.encode("the cat"))
        await blocked.until_running()
        others = [asyncio.create_task(model.encode("a dog")) for _ in range(5)]
        await settle(model, 5)
        assert model.waiting == (5, 5 * one.count_tokens("a dog"))
        blocked.go.set()
        await asyncio.gather(first, *others)
        await model.close()

    asyncio.run(ask())
    assert blocked.rows == [1, 5]


def test_two_requests_use_two_idle_slots(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Embedder(tiny_bundle.path, threads=2)
    if model._engine.workers.cores < 2:
        pytest.skip("needs two cores")
    blocked = Blocked(model, monkeypatch)

    async def ask() -> None:
        async with AsyncEmbedder.from_embedder(model) as waiting:
            tasks = [asyncio.create_task(waiting.encode("the cat")) for _ in range(2)]
            await asyncio.wait_for(blocked.until_running(2), 30)
            blocked.go.set()
            await asyncio.gather(*tasks)

    asyncio.run(ask())
    assert blocked.rows == [1, 1]


def test_a_cancelled_request_leaves_the_queue_and_its_slot_is_not_lost(
    one: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(one, monkeypatch)

    async def ask() -> None:
        model = AsyncEmbedder.from_embedder(one)
        running = asyncio.create_task(model.encode("the cat"))
        await blocked.until_running()
        waiting = asyncio.create_task(model.encode(["a dog", "rain fell over hills"]))
        await settle(model, 2)
        waiting.cancel()
        running.cancel()
        for task in (waiting, running):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert model.waiting == (0, 0)
        assert model._scheduler._running == 1  # a batch that runs is finished
        after = asyncio.create_task(model.encode("the hills"))
        await settle(model, 1)
        assert blocked.rows == [1]
        blocked.go.set()
        np.testing.assert_array_equal(await after, one.encode("the hills"))
        await model.close()

    asyncio.run(ask())
    assert blocked.rows[:2] == [1, 1]


def test_the_queue_is_bounded(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(one, monkeypatch)

    async def ask() -> None:
        model = AsyncEmbedder.from_embedder(one, max_waiting_texts=3, max_waiting_tokens=20)
        tasks = [asyncio.create_task(model.encode("the cat"))]
        await blocked.until_running()
        tasks.append(asyncio.create_task(model.encode("a dog")))
        await settle(model, 1)
        with pytest.raises(
            OverloadedError, match=r"4 texts would wait, and at most 3 may; .*max_waiting_texts"
        ) as found:
            await model.encode(["a dog"] * 3)
        assert 0 < found.value.retry_after <= 60
        with pytest.raises(OverloadedError, match="tokens would wait, and at most 20 may; .*max_waiting_tokens"):
            await model.encode("the cat sat on the mat and looked at dogs in gardens while rain fell")
        assert model.waiting[0] == 1
        blocked.go.set()
        await asyncio.gather(*tasks)
        assert len(await model.encode(["a dog"] * 50)) == 50  # nothing else waits
        await model.close()

    asyncio.run(ask())


def test_an_overloaded_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(OverloadedError("full", retry_after=2.5)))
    assert (str(error), error.retry_after) == ("full", 2.5)


def test_close_drains_and_refuses_more(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(one, monkeypatch)

    async def ask() -> None:
        model = AsyncEmbedder.from_embedder(one)
        tasks = [asyncio.create_task(model.encode(text)) for text in ("the cat", "a dog", "rain fell over hills")]
        await blocked.until_running()
        closing = asyncio.create_task(model.close())
        await asyncio.sleep(0.02)
        assert not closing.done()
        blocked.go.set()
        await closing
        assert all(task.done() for task in tasks) or len(await asyncio.gather(*tasks)) == 3
        with pytest.raises(RuntimeError, match="closed"):
            await model.encode("the cat")
        await model.close()  # again

    asyncio.run(ask())


def test_a_failing_text_fails_only_its_own_request(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request's collector fails, as for NaN; the others of the batch have their vectors."""
    from embedge.inference.collectors import VectorCollector

    blocked = Blocked(one, monkeypatch)
    store = VectorCollector.store
    bad: list[VectorCollector] = []

    def fail(collector: VectorCollector, batch: Any, values: Any) -> None:
        if collector._options.dimension == 3:
            bad.append(collector)
            raise FloatingPointError
        store(collector, batch, values)

    monkeypatch.setattr(VectorCollector, "store", fail)

    async def ask() -> list[Any]:
        async with AsyncEmbedder.from_embedder(one) as model:
            tasks = [asyncio.create_task(model.encode("the cat"))]
            await blocked.until_running()
            tasks += [asyncio.create_task(model.encode("a dog", truncate_dim=dim)) for dim in (None, 3, 4)]
            await settle(model, 3)
            blocked.go.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third, fourth = asyncio.run(ask())
    assert isinstance(third, BundleError)
    assert "not finite" in str(third)
    assert [len(first), len(second), len(fourth)] == [one.dimension, one.dimension, 4]
    assert 3 in blocked.rows  # they did share a batch
    assert bad


def test_errors_are_those_of_the_plain_call(tiny: Embedder) -> None:
    async def ask() -> None:
        async with AsyncEmbedder.from_embedder(tiny) as model:
            with pytest.raises(InputTypeError, match="text 1 must be a string, found int"):
                await model.encode(["a", 1])  # type: ignore[list-item]
            with pytest.raises(InputValueError, match="text 1"):
                await model.encode(["a", "\ud800"])
            with pytest.raises(InputValueError, match="1 of 2 texts are longer"):
                await model.encode(["a", LONG], on_truncate="error")
            with pytest.raises(BundleError, match="no lexical weights"):
                await model.encode_sparse("a")
            with pytest.raises(BundleError, match="no multi-vectors"):
                await model.encode_multi_vector("a")
            assert (await model.encode([])).shape == (0, tiny.dimension)

    asyncio.run(ask())


def test_a_warning_names_the_callers_line(tiny: Embedder) -> None:
    async def ask() -> None:
        async with AsyncEmbedder.from_embedder(tiny) as model:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                await asyncio.gather(model.encode("a"), model.encode("b"))
                await model.encode([LONG, "a"])
                await model.encode(["a", "b"], precision="int8")
            assert [warning.category for warning in caught] == [TruncationWarning, UserWarning]
            assert {warning.filename for warning in caught} == {__file__}

    asyncio.run(ask())


def test_queries_documents_and_streams_are_those_of_the_plain_calls(tiny: Embedder) -> None:
    texts = [" ".join(WORDS[: 1 + number % 9]) for number in range(50)]

    async def source() -> AsyncIterator[str]:
        for text in texts:
            yield text

    async def ask() -> None:
        async with AsyncEmbedder.from_embedder(tiny) as model:
            np.testing.assert_array_equal(await model.encode_query("a cat"), tiny.encode_query("a cat"))
            np.testing.assert_array_equal(await model.encode_document(["a"]), tiny.encode_document(["a"]))
            expected = tiny.encode(texts)
            for found in (model.stream(source(), window=7), model.stream(iter(texts)), model.stream(texts, window=50)):
                np.testing.assert_array_equal(np.stack([vector async for vector in found]), expected)
            with pytest.raises(InputTypeError, match="text 51 must be a string"):
                [vector async for vector in model.stream([*texts, "a", 1], window=7)]  # type: ignore[list-item]
            with pytest.raises(InputValueError, match="stream cannot give int8"):
                model.stream(texts, precision="int8")  # type: ignore[arg-type]
            with pytest.warns(TruncationWarning, match="2 of 3 texts"):
                [vector async for vector in model.stream([LONG, "a", LONG], window=1)]

    asyncio.run(ask())


def test_a_stream_waits_for_room_after_its_first_window(one: Embedder) -> None:
    async def ask() -> None:
        async with AsyncEmbedder.from_embedder(one, max_waiting_texts=4) as model:
            streams = [model.stream(["the cat sat", "a dog"] * 10, window=4) for _ in range(3)]

            async def read(stream: AsyncIterator[Any]) -> int:
                while True:
                    try:
                        first = await anext(stream)
                    except OverloadedError:
                        return -1
                    return len([first]) + len([vector async for vector in stream])

            assert set(await asyncio.gather(*map(read, streams))) <= {20, -1}

    asyncio.run(ask())


def test_the_event_loop_goes_on_while_texts_are_tokenised_and_run(tiny: Embedder) -> None:
    async def ask() -> float:
        async with AsyncEmbedder.from_embedder(tiny) as model:
            task = asyncio.create_task(model.encode([LONG] * 2000, on_truncate="ignore"))
            longest, last = 0.0, perf_counter()
            ticks = 0
            while not task.done():
                await asyncio.sleep(0)
                longest, last, ticks = max(longest, perf_counter() - last), perf_counter(), ticks + 1
            assert ticks > 100
            return longest

    start = perf_counter()
    longest = asyncio.run(ask())
    assert longest < (perf_counter() - start) / 2


def test_several_event_loops_may_use_it(plain: Embedder) -> None:
    from threading import Thread

    model = AsyncEmbedder.from_embedder(plain)
    expected = plain.encode("the cat sat")
    found: list[Any] = []

    async def ask() -> None:
        found.extend(await asyncio.gather(*(model.encode("the cat sat") for _ in range(50))))

    threads = [Thread(target=lambda: asyncio.run(ask())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 200
    assert all(np.array_equal(vector, expected) for vector in found)
    asyncio.run(ask())  # and one after the other


def test_a_pickled_model_has_a_queue_of_its_own(tiny_bundle: Bundle) -> None:
    model = AsyncEmbedder(tiny_bundle.path, threads=1, max_waiting_texts=5, max_waiting_tokens=7)
    copy = pickle.loads(pickle.dumps(model))
    assert repr(copy) == repr(model)
    assert (copy._bounds, copy.embedder.threads) == ((5, 7), 1)
    np.testing.assert_array_equal(asyncio.run(copy.encode("a cat")), model.embedder.encode("a cat"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_answers_though_its_parent_was_busy(tiny_bundle: Bundle) -> None:
    code = """
import asyncio, os, sys
from embedge import AsyncEmbedder, Embedder
model = AsyncEmbedder.from_embedder(Embedder(sys.argv[1], threads=2))
texts = ["the cat sat", "a dog"] * 2000
async def parent():
    task = asyncio.create_task(model.encode(texts))
    while not model.waiting[1]:
        await asyncio.sleep(0)
    return os.fork(), task
loop = asyncio.new_event_loop()
child, task = loop.run_until_complete(parent())
if child == 0:
    assert model.waiting == (0, 0), model.waiting
    found = asyncio.new_event_loop().run_until_complete(model.encode("the cat sat"))
    os._exit(0 if (found == model.embedder.encode("the cat sat")).all() else 3)
assert len(loop.run_until_complete(task)) == 4000
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tiny_bundle.path)], timeout=120, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("end", ["pass", "raise KeyboardInterrupt", "task.cancel()"])
def test_a_process_ends_though_a_batch_runs(tiny_bundle: Bundle, end: str) -> None:
    """Without waiting, the interpreter would kill a thread inside ONNX Runtime."""
    code = f"""
import asyncio, sys
from embedge import AsyncEmbedder
async def main():
    model = AsyncEmbedder(sys.argv[1])
    task = asyncio.create_task(model.encode(["the cat sat on the mat " * 10] * 5000, on_truncate="ignore"))
    while not model.waiting[1]:
        await asyncio.sleep(0)
    {end}
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle.path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("plain_class", "async_class", "method"),
    [
        *(
            (Embedder, AsyncEmbedder, f"encode{name}")
            for name in ("", "_query", "_document", "_sparse", "_multi_vector")
        ),
        (Embedder, AsyncEmbedder, "stream"),
        (Reranker, AsyncReranker, "score"),
        (Reranker, AsyncReranker, "rank"),
    ],
)
def test_the_options_are_those_of_the_plain_methods(plain_class: type, async_class: type, method: str) -> None:
    plain, awaited = (inspect.signature(getattr(kind, method)).parameters for kind in (plain_class, async_class))
    assert list(awaited) == list(plain)
    assert [parameter.default for parameter in awaited.values()] == [parameter.default for parameter in plain.values()]


@pytest.mark.parametrize(("plain_class", "async_class"), [(Embedder, AsyncEmbedder), (Reranker, AsyncReranker)])
def test_a_model_is_loaded_with_the_same_options(
    plain_class: Callable[..., Any], async_class: Callable[..., Any]
) -> None:
    plain, awaited = (inspect.signature(kind).parameters for kind in (plain_class, async_class))
    assert list(awaited) == [*plain, "max_waiting_texts", "max_waiting_tokens"]
