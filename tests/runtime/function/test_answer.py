"""answer.py: what a request may have, and that the answer has the vectors and scores of the library."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, InputTypeError, InputValueError, Reranker
from embedge.function.answer import answer, describe

TEXTS = ["the cat sat on the mat", "how do i bake bread ?", ""]
PAIRS = [["how do I bake bread?", "Yeast makes dough rise."], ["how", "The bike has a flat tyre."]]


@pytest.fixture(scope="module")
def reranker(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Reranker:
    from seeded_roberta import write_roberta

    folder = write_roberta(tmp_path_factory.mktemp("reranker") / "checkpoint", rerank=True)
    return Reranker(export(folder, folder.parent / "bundle", verify=False).path)


def through_json(content: dict[str, Any]) -> Any:
    """What a client reads."""
    return json.loads(json.dumps(content))


def test_texts_are_documents(tiny: Embedder) -> None:
    content = through_json(answer(tiny, {"texts": TEXTS}))
    assert content["model"] == "tiny"
    assert content["dimension"] == 32
    vectors = np.array(content["vectors"], np.float32)
    assert np.array_equal(vectors, tiny.encode(TEXTS, prompt=""))


def test_a_query_gets_the_prompt(tiny: Embedder) -> None:
    """As one string, or as a list; the tiny model's prompt is `how do i `."""
    expected = tiny.encode(["how do i bake", "how do i run"], prompt="")
    for query, rows in (("bake", 1), (["bake", "run"], 2)):
        vectors = np.array(through_json(answer(tiny, {"query": query}))["vectors"], np.float32)
        assert np.array_equal(vectors, expected[:rows])


def test_base64_is_the_same_vectors(tiny: Embedder) -> None:
    """As OpenAI's API encodes them: little-endian float32."""
    content = through_json(answer(tiny, {"texts": TEXTS, "encoding": "base64"}))
    vectors = [np.frombuffer(base64.b64decode(row), "<f4") for row in content["vectors"]]
    assert np.array_equal(np.stack(vectors), tiny.encode_document(TEXTS))


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize(("precision", "kind"), [("binary", np.int8), ("ubinary", np.uint8)])
def test_bits_are_packed(tiny: Embedder, precision: str, kind: type, encoding: str) -> None:
    content = through_json(answer(tiny, {"texts": TEXTS, "precision": precision, "encoding": encoding}))
    rows = content["vectors"]
    read: list[Any] = [
        np.array(row, kind) if encoding == "float" else np.frombuffer(base64.b64decode(row), kind) for row in rows
    ]
    assert content["dimension"] == 32
    signs = np.packbits(tiny.encode_document(TEXTS) > 0, axis=-1)
    offset = 128 if precision == "binary" else 0  # sentence-transformers' packed int8 is the byte less 128
    assert np.array_equal(np.stack(read).astype(int), signs.astype(int) - offset)


def test_a_vector_can_be_cut_and_keep_its_length(tiny: Embedder) -> None:
    whole = tiny.encode_document(TEXTS, normalize=False)
    content = answer(tiny, {"texts": TEXTS, "truncate_dim": 8})
    assert content["dimension"] == 8
    cut = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(np.array(content["vectors"]), cut, atol=1e-6)
    raw = answer(tiny, {"texts": TEXTS, "normalize": False})["vectors"]
    assert np.array_equal(np.array(raw, np.float32), whole)


def test_null_is_the_default(tiny: Embedder) -> None:
    options = dict.fromkeys(("truncate_dim", "precision", "normalize", "on_truncate", "encoding", "query"))
    assert answer(tiny, {"texts": TEXTS, **options}) == answer(tiny, {"texts": TEXTS})


def test_no_texts_have_no_vectors(tiny: Embedder) -> None:
    assert answer(tiny, {"texts": []})["vectors"] == []


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (None, InputTypeError, r'must be a JSON object, such as {"texts": \["..."\]}, found NoneType'),
        ([{"texts": []}], InputTypeError, "must be a JSON object.* found list$"),
        ("a text", InputTypeError, "must be a JSON object.* found str$"),  # the sentence quotes no text
        ({}, InputValueError, 'a request to an embedder needs either "texts" or "query"; found no field'),
        ({"texts": ["a"], "query": "b"}, InputValueError, "found 'texts', 'query'"),
        ({"pairs": [["a", "b"]]}, InputValueError, "an embedder needs .*; found .pairs."),
        ({"query": "a", "documents": ["b"]}, InputValueError, "no field is called 'documents'"),
        (
            {"texts": ["a"], "trunkate_dim": 8},
            InputValueError,
            "no field is called 'trunkate_dim'.*may have trunc",
        ),
        ({"texts": ["a"], "precision": "int8"}, InputValueError, "one of float32, binary, ubinary, found 'int8'"),
        ({"texts": ["a"], "encoding": "hex"}, InputValueError, "encoding must be one of float, base64, found 'hex'"),
        ({"texts": ["a"], "truncate_dim": 33}, InputValueError, "truncate_dim must be between 1 and 32, found 33"),
        ({"texts": ["a"], "truncate_dim": "8"}, InputTypeError, "truncate_dim must be a whole number, found '8'"),
        ({"texts": ["a"], "truncate_dim": 8.0}, InputTypeError, "truncate_dim must be a whole number, found 8.0"),
        ({"texts": ["a"], "normalize": 1}, InputTypeError, "normalize must be True or False, found 1"),
        ({"texts": ["a"], "on_truncate": "cut"}, InputValueError, "on_truncate must be one of"),
        ({"texts": ["the " * 100], "on_truncate": "error"}, InputValueError, "text 0"),
        ({"texts": ["a", 1]}, InputTypeError, "text 1 must be a string, found int"),
        ({"texts": 1}, InputTypeError, "texts must be a string or a list of strings, found int"),
        ({"texts": {"a": 1}}, InputTypeError, "found dict"),
        ({"texts": ["\ud800"]}, InputValueError, "not valid Unicode"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(tiny: Embedder, request_: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        answer(tiny, request_)


def test_pairs_have_scores(reranker: Reranker) -> None:
    for normalize in (False, True):
        content = through_json(answer(reranker, {"pairs": PAIRS, "normalize": normalize}))
        scores = reranker.score([(pair[0], pair[1]) for pair in PAIRS], normalize=normalize)
        assert np.array_equal(np.array(content["scores"], np.float32), scores)


def test_documents_are_sorted_by_their_score(reranker: Reranker) -> None:
    query, documents = "how do I bake bread?", ["Yeast makes dough rise.", "The bike has a flat tyre.", ""]
    content = through_json(answer(reranker, {"query": query, "documents": documents, "top_k": 2}))
    scores = answer(reranker, {"pairs": [[query, text] for text in documents]})["scores"]
    best = sorted(range(3), key=lambda index: -scores[index])[:2]
    assert content["results"] == [{"index": index, "score": scores[index]} for index in best]


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (
            {"texts": ["a"]},
            InputValueError,
            'either "pairs" or "query" with "documents"; found .texts.',
        ),
        ({"query": "a"}, InputValueError, 'with "documents"; found .query.'),
        ({"query": "a", "documents": ["b"], "pairs": []}, InputValueError, "found 'query', 'documents', 'pairs'"),
        ({"pairs": [["a", "b"]], "top_k": 1}, InputValueError, "no field is called 'top_k'"),
        ({"pairs": ["ab"]}, InputTypeError, "pair 0 must be two strings"),
        ({"query": ["a"], "documents": ["b"]}, InputTypeError, "query must be a string, found list"),
        ({"query": "a", "documents": "b"}, InputTypeError, "documents must be a list of strings"),
        ({"query": "a", "documents": ["b"], "top_k": 0}, InputValueError, "top_k must be at least 1"),
    ],
)
def test_what_is_wrong_with_a_rerank_request_is_said(
    reranker: Reranker, request_: Any, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        answer(reranker, request_)


@pytest.mark.parametrize("request_", [{}, {"documents": ["b"]}, {"query": "a", "documents": ["b"], "pairs": []}])
def test_a_rerankers_inputs_are_named_in_one_order(reranker: Reranker, request_: Any) -> None:
    with pytest.raises(InputValueError, match='needs either "pairs" or "query" with "documents"; found'):
        answer(reranker, request_)


def test_the_description_is_that_of_the_manifest(tiny: Embedder) -> None:
    manifest = json.loads(Path(tiny.bundle.path, "embedge.json").read_text())
    expected = {name: manifest[name] for name in ("model", "task", "max_tokens", "dimension")}
    assert describe(tiny) == {**expected, "precision": "fp32"}


def test_a_rerankers_description_has_no_dimension(reranker: Reranker) -> None:
    assert describe(reranker).keys() == {"model", "task", "max_tokens", "precision"}
