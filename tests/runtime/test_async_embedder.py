"""AsyncEmbedder: its answers are those of Embedder, whoever else asks; its queue is bounded, and can be left."""

import asyncio
import inspect
import pickle
import random
import warnings
from collections.abc import AsyncIterator, Callable
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


@pytest.fixture
def one(tiny_bundle: Bundle) -> Embedder:
    return Embedder(tiny_bundle.path, threads=1)


def test_a_thousand_mixed_requests_have_the_plain_vectors_bit_for_bit(plain: Embedder) -> None:
    requests = random_requests(1000)
    other = Embedder(plain.bundle.path, precision=plain.precision, threads=1)

    async def ask() -> Any:
        async with AsyncEmbedder.from_embedder(plain) as model:
            return await asyncio.gather(*(model.encode(texts, **options) for texts, options in requests))

    for (texts, options), found in zip(requests, asyncio.run(ask()), strict=True):
        expected = other.encode(texts, **options)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_an_overloaded_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(OverloadedError("full", retry_after=2.5)))
    assert (str(error), error.retry_after) == ("full", 2.5)


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
            with pytest.raises(BundleError, match="no lexical weights"):
                await model.encode_all("a")
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


@pytest.mark.parametrize(
    ("plain_class", "async_class", "method"),
    [
        *(
            (Embedder, AsyncEmbedder, f"encode{name}")
            for name in ("", "_query", "_document", "_sparse", "_multi_vector", "_all")
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


def test_sparse_and_multi_vectors_are_those_of_the_plain_calls(
    export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("torch", reason="needs torch, with which bge-m3's heads are written")
    from seeded_roberta import write_roberta

    folder = write_roberta(tmp_path_factory.mktemp("m3") / "checkpoint", rerank=False)
    plain = Embedder(export(folder, folder.parent / "bundle", verify=False).path)
    texts = [f"how do I bake bread {'now ' * (number % 4)}" for number in range(40)]

    async def ask() -> Any:
        async with AsyncEmbedder.from_embedder(plain) as model:
            return await asyncio.gather(
                *(model.encode_sparse([text, "a"]) for text in texts),
                *(model.encode_multi_vector(text) for text in texts),
                *(model.encode(text) for text in texts),
                *(model.encode_all([text, "a"], multi_vector=True) for text in texts),
            )

    found = asyncio.run(ask())
    for all_kinds, text in zip(found[120:], texts, strict=True):
        expected = plain.encode_all([text, "a"], multi_vector=True)
        np.testing.assert_array_equal(all_kinds.dense, expected.dense)
        for one, other in zip(all_kinds, expected, strict=True):
            assert one.sparse is not None
            assert other.sparse is not None
            assert one.sparse.as_dict() == other.sparse.as_dict()
            np.testing.assert_array_equal(one.multi_vector, other.multi_vector)
    for sparse, text in zip(found[:40], texts, strict=True):
        assert [vector.as_dict() for vector in sparse] == [
            vector.as_dict() for vector in plain.encode_sparse([text, "a"])
        ]
    for vectors, text in zip(found[40:80], texts, strict=True):
        np.testing.assert_array_equal(vectors, plain.encode_multi_vector(text))
    for vector, text in zip(found[80:120], texts, strict=True):
        np.testing.assert_array_equal(vector, plain.encode(text))
