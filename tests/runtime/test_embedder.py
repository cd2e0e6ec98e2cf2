"""embedder.py: shapes, order, prompts, odd input, and the same vector in every batch."""

import multiprocessing
import os
import pickle
import random
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, InputTypeError, InputValueError, ProviderError, TruncationWarning

ODD = {
    "empty": "",
    "space": "   \n\t",
    "control": "\x00\x01\x7f",
    "emoji": "🚲👩‍👩‍👧",
    "mixed": "the кошка 猫 قط ねこ cat",
    "combining": "e" + "́" * 500,
    "megabyte": "the cat sat " * 90_000,
    "one long word": "x" * 1_000_000,
}


def words(count: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return [
        " ".join(generator.choices(["the", "cat", "sat", "on", "blue", "river"], k=k % 17 + 1)) for k in range(count)
    ]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_text_has_one_vector_whatever_its_company(tiny_bundle: Bundle, precision: Any, threads: int) -> None:
    """Bitwise, alone or in a batch, in any order, with any token budget."""
    model = Embedder(tiny_bundle.path, precision=precision, threads=threads)
    texts = words(60)
    alone = np.array([Embedder.encode(model, text) for text in texts])
    order = random.Random(1).sample(range(60), 60)
    np.testing.assert_array_equal(model.encode(texts), alone)
    np.testing.assert_array_equal(model.encode([texts[i] for i in order], batch_tokens=40), alone[order])


def test_shapes_and_types(tiny: Embedder) -> None:
    assert tiny.encode("the cat").shape == (32,)
    assert tiny.encode(["the cat"]).shape == (1, 32)
    assert tiny.encode([]).shape == (0, 32)
    assert tiny.encode([], truncate_dim=8, precision="ubinary").shape == (0, 1)
    assert tiny.encode(text for text in ["the cat", "a dog"]).dtype == np.float32


def test_all_vectors_are_held_once(tiny: Embedder) -> None:
    """Normalised, or packed into bits, a batch at a time: whole copies would triple what a large call takes."""
    texts = ["the cat"] * 20_000
    tiny.encode(texts[:512])

    def peak(**options: Any) -> int:
        tracemalloc.start()
        tiny.encode(texts, **options)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    size = len(texts) * tiny.dimension * 4
    raw = peak(normalize=False)
    assert peak() < raw + size / 4
    assert peak(precision="binary") < raw - size / 2


@pytest.mark.parametrize("name", ODD)
def test_odd_text_has_a_unit_vector(tiny: Embedder, name: str) -> None:
    vector = tiny.encode(ODD[name], on_truncate="ignore")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_a_query_gets_the_prompt_and_a_document_does_not(tiny: Embedder) -> None:
    assert dict(tiny.prompts) == {"query": "how do i "}
    np.testing.assert_array_equal(tiny.encode_query("bake bread"), tiny.encode("how do i bake bread"))
    np.testing.assert_array_equal(tiny.encode_document("bake bread"), tiny.encode("bake bread"))
    np.testing.assert_array_equal(tiny.encode("bake", prompt_name="query"), tiny.encode_query("bake"))
    np.testing.assert_array_equal(tiny.encode_query("bake", prompt="the "), tiny.encode("the bake"))


def test_an_unknown_prompt_names_the_known_ones(tiny: Embedder) -> None:
    with pytest.raises(InputValueError, match="no prompt is called 'passage', this model has: query"):
        tiny.encode("cat", prompt_name="passage")


def test_truncate_dim_truncates_then_normalises(tiny: Embedder) -> None:
    raw = tiny.encode(["the cat", "a dog"], normalize=False)
    expected = raw[:, :8] / np.linalg.norm(raw[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(tiny.encode(["the cat", "a dog"], truncate_dim=8), expected, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"truncate_dim": 0}, {"truncate_dim": 33}, {"batch_tokens": 0}, {"precision": "int4"}, {"on_truncate": "shout"}],
)
def test_an_option_that_cannot_be_honoured_is_refused(tiny: Embedder, options: dict[str, Any]) -> None:
    with pytest.raises(InputValueError, match=next(iter(options))):
        tiny.encode("cat", **options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prompt", 5),
        ("prompt_name", b"query"),
        ("truncate_dim", 10.0),
        ("truncate_dim", True),
        ("batch_tokens", "64"),
        ("normalize", "no"),
        ("convert_to_tensor", 0),
        ("show_progress_bar", "yes"),
    ],
)
def test_an_option_of_another_type_is_refused(tiny: Embedder, option: str, value: Any) -> None:
    with pytest.raises(InputTypeError, match=f"{option} must be .*, found {value!r}"):
        tiny.encode("cat", **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("providers", "CPUExecutionProvider", "providers must be a list of names, found 'CPUExecutionProvider'"),
        (
            "providers",
            {"CPUExecutionProvider": {}},
            "must be a list of names, found {'CPUExecutionProvider': {}}",
        ),
        ("providers", [1], r"providers must be names or pairs \(name, options\), found 1"),
        ("providers", {"CPUExecutionProvider"}, "providers must be a list of names, found {'CPUExecutionProvider'}"),
        ("threads", 1.5, "threads must be a whole number, found 1.5"),
        ("threads", "2", "threads must be a whole number, found '2'"),
        ("threads", True, "threads must be a whole number, found True"),
    ],
)
def test_an_argument_of_another_type_is_refused(tiny_bundle: Bundle, option: str, value: Any, message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        Embedder(tiny_bundle.path, **{option: value})


@pytest.mark.parametrize(
    "option",
    ["truncate_dim", "batch_tokens", "normalize", "precision", "on_truncate", "show_progress_bar", "convert_to_tensor"],
)
def test_an_array_is_no_option(tiny: Embedder, option: str) -> None:
    """Whether it equals something else is an array, too, which is neither true nor false."""
    with pytest.raises((InputTypeError, InputValueError), match=f"{option} must be"):
        tiny.encode("cat", **{option: np.array([1, 2])})  # type: ignore[arg-type]


def test_a_number_beyond_any_size_is_no_limit(tiny: Embedder) -> None:
    expected = tiny.encode(["cat", "a dog"])
    huge = 10**30
    np.testing.assert_array_equal(tiny.encode(["cat", "a dog"], batch_tokens=huge, batch_size=huge), expected)
    np.testing.assert_array_equal(np.array(list(tiny.stream(["cat", "a dog"], window=huge))), expected)


def test_numpys_whole_numbers_are_whole_numbers(tiny: Embedder) -> None:
    assert tiny.encode("cat", truncate_dim=np.int64(8)).shape == (8,)  # type: ignore[arg-type]


def test_a_prompt_that_is_no_unicode_is_named(tiny: Embedder) -> None:
    """It, and no text."""
    with pytest.raises(InputValueError, match=r"the prompt is not valid Unicode: a lone surrogate, U\+D83D"):
        tiny.encode("cat", prompt="\ud83d")


@pytest.mark.parametrize("window", [0, 1.5])
def test_a_window_is_a_whole_number(tiny: Embedder, window: Any) -> None:
    with pytest.raises((InputTypeError, InputValueError), match="window must be"):
        tiny.stream([], window=window)


@pytest.mark.parametrize(("threads", "started"), [(None, 3), (2, 2), (100_000, 3)])
def test_threads_are_no_more_than_the_cores(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, threads: int | None, started: int
) -> None:
    """Nothing is started here: a hundred thousand threads would take the machine with them."""
    asked: list[int] = []
    monkeypatch.setattr("embedge.model.usable_cores", lambda: 3)
    monkeypatch.setattr("embedge.model.load_engine", lambda bundle, **options: asked.append(options["threads"]))
    Embedder(tiny_bundle.path, threads=threads)
    assert asked == [started]


def test_a_pickle_takes_the_cores_of_where_it_is_opened(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was given `threads` keeps that number."""
    pickles = [pickle.dumps(Embedder(tiny_bundle.path, threads=threads)) for threads in (None, 1)]
    monkeypatch.setattr("embedge.model.usable_cores", lambda: 3)
    assert [pickle.loads(data)._engine.workers._cores for data in pickles] == [3, 1]


def test_truncation_is_told(tiny: Embedder) -> None:
    texts = ["cat", "cat " * 100]
    with pytest.warns(
        TruncationWarning, match=r"1 of 2 texts are longer than 64 tokens \(the first is text 1\)"
    ) as seen:
        tiny.encode(texts)
    assert seen[0].filename == __file__
    with pytest.raises(InputValueError, match="split them"):
        tiny.encode(texts, on_truncate="error")
    np.testing.assert_array_equal(tiny.encode(texts, on_truncate="ignore")[1], tiny.encode("cat " * 62))


def test_counts_are_of_the_whole_text(tiny: Embedder) -> None:
    assert tiny.count_tokens(["", "the cat", "cat " * 100]) == [2, 4, 102]
    assert tiny.count_tokens("the cat") == 4


def test_stream_is_encode_a_window_at_a_time(tiny: Embedder) -> None:
    texts, taken = words(50), []

    def source() -> Iterator[str]:
        for index, text in enumerate(texts):
            taken.append(index)
            yield text

    vectors = tiny.stream(source(), window=8)
    first = next(vectors)
    assert len(taken) == 8
    np.testing.assert_array_equal([first, *vectors], tiny.encode(texts))


def test_stream_names_the_index_in_the_whole_stream(tiny: Embedder) -> None:
    with pytest.raises(InputTypeError, match="text 20 must be a string, found NoneType"):
        list(tiny.stream([*words(20), None], window=8))  # type: ignore[list-item]


def test_stream_checks_before_it_is_read(tiny: Embedder) -> None:
    with pytest.raises(InputValueError, match="range of all vectors"):
        tiny.stream([], precision="int8")  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="found NoneType"):
        tiny.stream(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"cat", "dog"}, r"^texts must be .*, found set, which has no order; pass sorted\(texts\)$"),
        (frozenset({"cat"}), r"found frozenset, which has no order; pass sorted\(texts\)$"),
        ({"a": "cat"}, r"dict; pass list\(texts\) for its keys, list\(texts.values\(\)\) or list\(texts.items\(\)\)$"),
    ],
)
def test_what_has_no_order_is_refused(tiny: Embedder, texts: Any, message: str) -> None:
    for method in (tiny.encode, tiny.encode_query, tiny.encode_document, tiny.count_tokens, tiny.stream):
        with pytest.raises(InputTypeError, match=message):
            method(texts)


def test_views_of_a_dict_have_its_order(tiny: Embedder) -> None:
    expected = tiny.encode(["cat", "a dog"])
    np.testing.assert_array_equal(tiny.encode({1: "cat", 2: "a dog"}.values()), expected)
    np.testing.assert_array_equal(tiny.encode({"cat": 1, "a dog": 2}.keys()), expected)


def test_stream_warns_of_truncation_once_and_counts_all(tiny: Embedder) -> None:
    texts = ["cat", *["cat " * 100] * 5]
    with pytest.warns(TruncationWarning, match=r"5 of 6 texts .* \(the first is text 1\)") as seen:
        assert len(list(tiny.stream(texts, window=2))) == 6
    assert [warning.filename for warning in seen] == [__file__]


def test_stream_warns_of_truncation_when_it_is_left(tiny: Embedder) -> None:
    """What was read until then has lost its end all the same."""
    vectors = tiny.stream(["cat " * 100] * 6, window=2)
    next(vectors)
    with pytest.warns(TruncationWarning, match=r"2 of 2 texts"):
        vectors.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
@pytest.mark.parametrize("options", [{}, {"precision": "int8", "on_truncate": "ignore"}])
def test_a_warning_points_at_the_callers_line(tiny: Embedder, method: str, options: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="longer than|are few") as seen:
        getattr(tiny, method)(["cat " * 100], **options)
    assert [warning.filename for warning in seen] == [__file__]


def test_similarity_ranks(tiny: Embedder) -> None:
    documents = tiny.encode_document(["the cat sat", "far away river"])
    assert tiny.similarity(tiny.encode("the cat sat"), documents)[0].argmax() == 0


def test_it_pickles(tiny: Embedder) -> None:
    again = pickle.loads(pickle.dumps(tiny))
    assert again.precision == "fp32"
    np.testing.assert_array_equal(again.encode("the cat"), tiny.encode("the cat"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_it_survives_a_fork(tiny_bundle: Bundle) -> None:
    _FORKED["model"] = Embedder(tiny_bundle.path, threads=2)
    expected = _FORKED["model"].encode("the cat")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply_async(_encode_inherited, ("the cat",)).get(timeout=20), expected)


_FORKED: dict[str, Embedder] = {}  # inherited by the child; an argument would be pickled, and opened again


def _encode_inherited(text: str) -> Any:
    return _FORKED["model"].encode(text)


def test_threads_may_share_it(tiny: Embedder) -> None:
    texts = words(64)
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(tiny.encode, texts))
    np.testing.assert_array_equal(vectors, tiny.encode(texts))


def test_a_provider_that_is_not_there_is_an_error(tiny_bundle: Bundle) -> None:
    with pytest.raises(ProviderError, match="CUDAExecutionProvider is not in this onnxruntime.*onnxruntime-gpu"):
        Embedder(tiny_bundle.path, providers=["CUDAExecutionProvider"])


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_at_least_one(tiny_bundle: Bundle, threads: int) -> None:
    with pytest.raises(InputValueError, match="at least 1"):
        Embedder(tiny_bundle.path, threads=threads)


def test_a_progress_bar_when_asked(tiny: Embedder, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.encode(words(5), show_progress_bar=True)
    assert "5/5" in capsys.readouterr().err
    tiny.encode(words(500))  # stderr is no terminal
    assert capsys.readouterr().err == ""
