"""The slots: what shares a batch, what waits, and what ends. Runs are held back, so that no test depends on time."""

import asyncio
import random
from threading import Event
from typing import Any

import numpy as np
import pytest

from embedge import AsyncEmbedder, Bundle, BundleError, Embedder, InputValueError, OverloadedError


class Blocked:
    """Holds every run of a model until ``go``, and counts the rows of each batch."""

    def __init__(self, model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
        from embedge.inference.session import Session

        self.go = Event()
        self.rows: list[int] = []
        run = Session.run_outputs

        def wait(session: Session, batch: Any, outputs: Any) -> Any:
            self.rows.append(len(batch.members))
            assert self.go.wait(30)
            return run(session, batch, outputs)

        monkeypatch.setattr(Session, "run_outputs", wait)

    async def until_running(self, count: int = 1) -> None:
        async with asyncio.timeout(30):
            while len(self.rows) < count:
                await asyncio.sleep(0.001)


@pytest.fixture
def one(tiny_bundle: Bundle) -> Embedder:
    return Embedder(tiny_bundle.path, threads=1)


async def settle(model: AsyncEmbedder, texts: int) -> None:
    """Wait until so many texts wait, all of them tokenised."""
    async with asyncio.timeout(30):
        while model._scheduler._slots._waiting.texts != texts:
            await asyncio.sleep(0.001)


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
        assert model._scheduler._slots._running == 1  # a batch that runs is finished
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
    rows = VectorCollector.rows
    bad: list[VectorCollector] = []

    def fail(collector: VectorCollector, batch: Any, values: Any) -> Any:
        if collector._options.dimension == 3:
            bad.append(collector)
            raise FloatingPointError
        return rows(collector, batch, values)

    monkeypatch.setattr(VectorCollector, "rows", fail)

    async def ask() -> Any:
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


def test_on_a_gpu_one_worker_runs_what_its_planner_makes(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule and the single worker of a GPU, on the CPU: sums have another order, so nearly the same vectors."""
    from embedge.inference.device.schedule import DeviceSchedule

    plain = Embedder(tiny_bundle.path, precision="fp32", threads=1)
    draw = random.Random(7)
    words = "the cat sat on a mat and looked at dogs".split()
    requests = [[" ".join(draw.choices(words, k=draw.randint(1, 20)))] * draw.choice([1, 3]) for _ in range(200)]
    expected = [plain.encode(texts) for texts in requests]
    plain._engine.schedule = DeviceSchedule(plain.max_tokens)
    rows: list[int] = []
    session = plain._engine.workers._one_thread[0]
    run = session.run_outputs

    def note(batch: Any, outputs: Any) -> Any:
        rows.append(len(batch.members))
        return run(batch, outputs)

    monkeypatch.setattr(session, "run_outputs", note)

    async def ask() -> Any:
        async with AsyncEmbedder.from_embedder(plain) as model:
            return await asyncio.gather(*map(model.encode, requests))

    for found, vectors in zip(asyncio.run(ask()), expected, strict=True):
        assert np.abs(found - vectors).max() < 1e-5
    assert sum(rows) == sum(map(len, requests))
    assert max(rows) > 100  # texts of many requests and lengths


def test_each_batch_is_told_with_its_texts_and_tokens(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(one, monkeypatch)
    told: list[tuple[int, int]] = []

    async def ask() -> None:
        async with AsyncEmbedder.from_embedder(one) as model:
            model._scheduler.observe(lambda texts, tokens: told.append((texts, tokens)))
            first = asyncio.create_task(model.encode("the cat"))
            await blocked.until_running()
            others = [asyncio.create_task(model.encode("a dog sat")) for _ in range(5)]
            await settle(model, 5)
            blocked.go.set()
            await asyncio.gather(first, *others)

    asyncio.run(ask())
    assert told == [(1, one.count_tokens("the cat")), (5, 5 * one.count_tokens("a dog sat"))]


def test_requests_of_one_batch_have_their_own_options(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are made once for each conversion, and each request gets those of its own."""
    from embedge.inference.collectors import VectorCollector

    blocked = Blocked(one, monkeypatch)
    rows = VectorCollector.rows
    made: list[int] = []

    def count(collector: VectorCollector, batch: Any, values: Any) -> Any:
        made.append(len(batch.members))
        return rows(collector, batch, values)

    monkeypatch.setattr(VectorCollector, "rows", count)
    options: list[Any] = [
        {},
        {"truncate_dim": 3},
        {"normalize": False},
        {"precision": "binary"},
        {},
        {"truncate_dim": 3},
    ]

    async def ask() -> Any:
        async with AsyncEmbedder.from_embedder(one) as model:
            first = asyncio.create_task(model.encode("the cat"))
            await blocked.until_running()
            texts = [["a dog", "the cat"][: 1 + number % 2] for number in range(len(options))]
            tasks = [
                asyncio.create_task(model.encode(text, **option)) for text, option in zip(texts, options, strict=True)
            ]
            await settle(model, 9)
            blocked.go.set()
            await first
            return texts, await asyncio.gather(*tasks)

    texts, found = asyncio.run(ask())
    assert sorted(made) == [1, 9, 9, 9, 9]  # the first text, and the batch by four conversions
    for text, option, vectors in zip(texts, options, found, strict=True):
        np.testing.assert_array_equal(vectors, one.encode(text, **option))


def test_requests_that_meet_are_tokenised_together(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the only thread that may tokenise is busy, requests come, of which one is faulty."""
    from embedge.inference import inputs
    from embedge.inference.scheduler import slots
    from embedge.inference.tokenise import Tokeniser

    blocked, reading, read = Blocked(one, monkeypatch), Event(), Event()
    encode = Tokeniser.encode

    def wait(tokeniser: Tokeniser, texts: Any, **options: Any) -> Any:
        if texts == ["held"]:
            reading.set()
            assert read.wait(30)
        return encode(tokeniser, texts, **options)

    together: list[tuple[int, bool]] = []

    def note(requests: Any) -> Any:
        found = inputs.tokenise_together(requests)
        together.append((len(requests), found is not None))
        return found

    monkeypatch.setattr(Tokeniser, "encode", wait)
    monkeypatch.setattr(slots, "tokenise_together", note)
    good = ["a dog", ["rain", "fell over the hills"], "the cat", ["dogs"]]

    async def meet(model: AsyncEmbedder, texts: list[Any]) -> list[Any]:
        reading.clear()
        read.clear()
        held = asyncio.create_task(model.encode("held"))
        assert await asyncio.to_thread(reading.wait, 30)
        tasks = [asyncio.create_task(model.encode(text)) for text in texts]
        await asyncio.sleep(0)  # they are submitted
        read.set()
        await settle(model, 6)  # all but the faulty one
        blocked.go.set()
        await held
        found: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        return found

    async def ask() -> Any:
        async with AsyncEmbedder.from_embedder(one) as model:
            running = asyncio.create_task(model.encode("the cat"))
            await blocked.until_running()
            found = await meet(model, good)
            await running
            blocked.go.clear()
            running = asyncio.create_task(model.encode("the cat"))
            await blocked.until_running(len(blocked.rows) + 1)
            faulty = await meet(model, [*good, "\ud800"])
            await running
            return found, faulty

    found, faulty = asyncio.run(ask())
    assert together == [(4, True), (5, False)]
    for vectors in (found, faulty[:4]):
        for text, own in zip(good, vectors, strict=True):
            np.testing.assert_array_equal(own, one.encode(text))
    assert isinstance(faulty[4], InputValueError)
    assert str(faulty[4]).startswith("text 0 is not valid Unicode")


def test_a_slot_runs_what_is_enough_before_more_is_tokenised(one: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the other thread tokenises, the slot ends: it leaves the last request to that thread."""
    from embedge.inference.schedule import CpuSchedule
    from embedge.inference.tokenise import Tokeniser

    blocked, reading, read = Blocked(one, monkeypatch), Event(), Event()
    encode = Tokeniser.encode
    runs_before: list[int] = []

    def wait(tokeniser: Tokeniser, texts: Any, **options: Any) -> Any:
        if texts == ["held"]:
            reading.set()
            assert read.wait(30)
        if texts == ["rain"]:
            runs_before.append(len(blocked.rows))
        return encode(tokeniser, texts, **options)

    monkeypatch.setattr(Tokeniser, "encode", wait)
    monkeypatch.setattr(CpuSchedule, "enough", 2 * one.count_tokens("a dog"))

    async def ask() -> None:
        async with AsyncEmbedder.from_embedder(one) as model:
            tasks = [asyncio.create_task(model.encode("the cat"))]
            await blocked.until_running()
            tasks += [asyncio.create_task(model.encode("a dog")) for _ in range(2)]
            await settle(model, 2)
            tasks.append(asyncio.create_task(model.encode("held")))
            assert await asyncio.to_thread(reading.wait, 30)
            tasks.append(asyncio.create_task(model.encode("rain")))
            await asyncio.sleep(0)
            blocked.go.set()
            await asyncio.gather(*tasks[:3])
            read.set()
            await asyncio.gather(*tasks)

    asyncio.run(ask())
    assert blocked.rows[:2] == [1, 2]
    assert runs_before[0] >= 2
