"""One run of bge-m3 gives all kinds of vectors: bitwise those of three calls; the scores are FlagEmbedding's."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import (
    Bundle,
    BundleError,
    Embedder,
    Embedding,
    Embeddings,
    InputTypeError,
    InputValueError,
    TruncationWarning,
    hybrid_score,
)
from embedge.bundle.manifest import HIDDEN, TOKEN_VECTORS, TOKEN_WEIGHTS, Precision
from embedge.inference.session import Session
from embedge_export.verify.passages import passages, questions

TEXTS = [passage.joined for passage in passages()[:12]] + ["", "bread", "a <mask> b", "東京 🚲"]
LONG = " ".join(TEXTS)


def check_same(found: Embeddings, model: Embedder, texts: list[str], **options: Any) -> None:
    """Check that each kind is there, and bitwise that of its own method."""
    assert found.dense is not None
    np.testing.assert_array_equal(found.dense, model.encode(texts, **options))
    assert len(found) == len(texts)
    head_options = {name: value for name, value in options.items() if name in ("prompt", "batch_tokens")}
    sparse = model.encode_sparse(texts, **head_options)
    multi = model.encode_multi_vector(texts, **head_options)
    for one, weights, vectors in zip(found, sparse, multi, strict=True):
        assert one.sparse is not None
        np.testing.assert_array_equal(one.sparse.indices, weights.indices)
        np.testing.assert_array_equal(one.sparse.values, weights.values)
        np.testing.assert_array_equal(one.multi_vector, vectors)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("threads", [1, 2])
def test_all_kinds_are_bitwise_those_of_three_calls(m3_bundle: Bundle, precision: Precision, threads: int) -> None:
    model = Embedder(m3_bundle.path, precision=precision, threads=threads)
    check_same(model.encode_all(TEXTS, multi_vector=True), model, TEXTS)
    check_same(model.encode_all(TEXTS, multi_vector=True, batch_tokens=64), model, TEXTS, batch_tokens=64)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "how to bake "},
        {"normalize": False},
        {"truncate_dim": 8},
        {"truncate_dim": 8, "normalize": True},
        {"precision": "binary"},
        {"precision": "ubinary", "truncate_dim": 16},
        {"precision": "int8"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:int8 vectors are scaled")
def test_options_mean_what_they_mean_for_encode(m3_bundle: Bundle, options: dict[str, Any]) -> None:
    model = Embedder(m3_bundle.path)
    found = model.encode_all(TEXTS, multi_vector=True, **options)
    expected = model.encode(TEXTS, **options)
    assert found.dense is not None
    assert (found.dense.dtype, found.dense.shape) == (expected.dtype, expected.shape)
    check_same(found, model, TEXTS, **options)


def test_the_graph_runs_once_for_each_batch(m3_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    run = Session.run_outputs

    def note(self: Session, batch: Any, outputs: Any) -> Any:
        asked.append(tuple(outputs))
        return run(self, batch, outputs)

    monkeypatch.setattr(Session, "run_outputs", note)
    model = Embedder(m3_bundle.path, threads=1)
    model.encode_all(["bread"], multi_vector=True)
    model.encode_all(["bread"])
    model.encode_all(["bread"], dense=False, multi_vector=True)
    model.encode_all(["bread"], dense=False, sparse=False, multi_vector=True)
    assert asked == [
        (HIDDEN, TOKEN_WEIGHTS, TOKEN_VECTORS),
        (HIDDEN, TOKEN_WEIGHTS),
        (TOKEN_WEIGHTS, TOKEN_VECTORS),
        (TOKEN_VECTORS,),
    ]


def test_only_what_is_asked_for_is_there(m3_bundle: Bundle) -> None:
    model = Embedder(m3_bundle.path)
    found = model.encode_all(TEXTS[:2])
    assert found.multi_vector is None
    assert found[0].multi_vector is None
    assert (found.dense is not None, found.sparse is not None) == (True, True)
    found = model.encode_all(TEXTS[:2], dense=False, sparse=False, multi_vector=True)
    assert (found.dense, found.sparse, found[1].dense) == (None, None, None)
    with pytest.raises(InputValueError, match="all False; ask for one of them"):
        model.encode_all("bread", dense=False, sparse=False)
    with pytest.raises(InputTypeError, match="sparse must be True or False, found 'yes'"):
        model.encode_all("bread", sparse="yes")  # type: ignore[call-overload]


def test_one_string_gives_one_embedding(m3_bundle: Bundle) -> None:
    model = Embedder(m3_bundle.path)
    one, many = model.encode_all("bread", multi_vector=True), model.encode_all(["bread"], multi_vector=True)
    assert isinstance(one, Embedding)
    assert many.dense is not None
    np.testing.assert_array_equal(one.dense, many.dense[0])
    np.testing.assert_array_equal(one.multi_vector, many[-1].multi_vector)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.dense = None  # type: ignore[misc]
    with pytest.raises(IndexError, match="no text 1, found 1 texts"):
        many[1]
    empty = model.encode_all([], multi_vector=True)
    assert (len(empty), empty.sparse, empty.multi_vector, list(empty)) == (0, [], [], [])
    assert empty.dense is not None
    assert empty.dense.shape == (0, 32)


def test_truncation_is_told_once(m3_bundle: Bundle) -> None:
    model = Embedder(m3_bundle.path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = model.encode_all(["bread", LONG], multi_vector=True)
    assert [warning.category for warning in caught] == [TruncationWarning]
    assert caught[0].filename == __file__
    assert found.multi_vector is not None
    assert len(found.multi_vector[1]) == 511
    with pytest.raises(InputValueError, match="1 of 1 texts are longer than 512 tokens"):
        model.encode_all([LONG], on_truncate="error")


def test_a_model_without_a_head_says_so(tiny_bundle: Bundle) -> None:
    model = Embedder(tiny_bundle.path)
    with pytest.raises(BundleError, match="has no lexical weights; use a model that has, such as bge-m3"):
        model.encode_all("bread")
    with pytest.raises(BundleError, match="has no multi-vectors; use a model that has, such as bge-m3"):
        model.encode_all("bread", sparse=False, multi_vector=True)
    np.testing.assert_array_equal(model.encode_all("bread", sparse=False).dense, model.encode("bread"))


@pytest.mark.parametrize("weights", [None, [0.4, 0.2, 0.4], [1, 0, 3]])
@pytest.mark.filterwarnings("ignore")  # of the other libraries
def test_scores_are_those_of_flagembedding(m3_checkpoint: Path, m3_bundle: Bundle, weights: list[float] | None) -> None:
    """Its own ``compute_score``, on the same checkpoint and in float32."""
    library = pytest.importorskip("FlagEmbedding", reason="needs FlagEmbedding: pip install 'FlagEmbedding>=1.3'")
    pairs = [(question.text, passage.joined) for question in questions()[:4] for passage in passages()[:5]]
    theirs = library.BGEM3FlagModel(str(m3_checkpoint), use_fp16=False, devices="cpu").compute_score(
        pairs, weights_for_different_modes=weights
    )
    model = Embedder(m3_bundle.path, precision="fp32")
    queries, documents = ([*map(model_text, pairs)] for model_text in (lambda pair: pair[0], lambda pair: pair[1]))
    options = {} if weights is None else {"weights": weights}
    found = [
        hybrid_score(query, document, **options)
        for query, document in zip(
            model.encode_all(queries, multi_vector=True), model.encode_all(documents, multi_vector=True), strict=True
        )
    ]
    ours: dict[str, Any] = {
        "dense": [score.dense for score in found],
        "sparse": [score.sparse for score in found],
        "colbert": [score.multi_vector for score in found],
        "colbert+sparse+dense": [score.total for score in found],
    }
    for name, scores in ours.items():
        assert np.ptp(theirs[name]) > 0.01
        np.testing.assert_allclose(scores, theirs[name], rtol=1e-5, atol=2e-5, err_msg=name)
    two = [
        hybrid_score(query, document, **options).total
        for query, document in zip(model.encode_all(queries), model.encode_all(documents), strict=True)
    ]
    np.testing.assert_allclose(two, theirs["sparse+dense"], rtol=1e-5, atol=2e-5)
