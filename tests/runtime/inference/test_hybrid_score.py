"""The hybrid score: the formula of FlagEmbedding's compute_score, written out in numpy, and what it refuses."""

from typing import Any

import numpy as np
import pytest

from embedge import Embedding, Embeddings, HybridScore, InputTypeError, InputValueError, SparseVector, hybrid_score

RANDOM = np.random.default_rng(0)


def text(tokens: int) -> Embedding:
    dense, multi = RANDOM.standard_normal(8), RANDOM.standard_normal((tokens, 8))
    return Embedding(
        dense=(dense / np.linalg.norm(dense)).astype(np.float32),
        sparse=SparseVector(np.arange(tokens, dtype=np.int32) * 2, RANDOM.random(tokens).astype(np.float32)),
        multi_vector=(multi / np.linalg.norm(multi, axis=1, keepdims=True)).astype(np.float32),
    )


def formula(q: Any, d: Any, weights: Any) -> tuple[float, float, float, float]:
    """``compute_score`` of FlagEmbedding 1.4.2: the dense, sparse and colbert score, and their weighted mean."""
    dense = float(q.dense @ d.dense)
    theirs = d.sparse.as_dict()
    sparse = sum(weight * theirs.get(token, 0) for token, weight in q.sparse.as_dict().items())
    colbert = float(np.einsum("in,jn->ij", q.multi_vector, d.multi_vector).max(-1).sum() / len(q.multi_vector))
    total = (dense * weights[0] + sparse * weights[1] + colbert * weights[2]) / sum(weights)
    return dense, sparse, colbert, total


@pytest.mark.parametrize("weights", [(1, 1, 1), (0.4, 0.2, 0.4), [0, 1, 2], np.array([3.0, 1.0, 0.0])])
def test_it_is_the_weighted_mean_of_three_scores(weights: Any) -> None:
    query, document = text(5), text(9)
    found = hybrid_score(query, document, weights=weights)
    expected = formula(query, document, weights)
    assert (found.dense, found.sparse, found.multi_vector, found.total) == pytest.approx(expected, rel=1e-5)


def test_the_weights_are_equal_by_default() -> None:
    query, document = text(3), text(4)
    assert hybrid_score(query, document) == hybrid_score(query, document, weights=(5, 5, 5))


def test_a_kind_that_one_text_lacks_does_not_count() -> None:
    query, document = text(3), text(4)
    two = Embedding(dense=document.dense, sparse=document.sparse)
    found = hybrid_score(query, two, weights=(3, 1, 100))
    assert found.multi_vector is None
    assert found.dense is not None
    assert found.sparse is not None
    assert found.total == pytest.approx((3 * found.dense + found.sparse) / 4)
    assert hybrid_score(query, Embedding(dense=document.dense)) == HybridScore(total=found.dense, dense=found.dense)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Embeddings(texts=1, dense=np.zeros((1, 8), np.float32)), "query must be the Embedding of one text, found Em"),
        (np.zeros(8, np.float32), "query must be the Embedding of one text, found ndarray; take one text by its index"),
    ],
)
def test_another_type_is_refused(query: Any, message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        hybrid_score(query, text(3))


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (np.zeros(8, np.int8), r"must be float32 \[dimension\], found int8 \[8\]; encode with precision='float32'"),
        (np.zeros(7, np.float32), "must have the same dimension, found 7 and 8"),
        (None, "no kind of vector in common; call encode_all for both"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(dense: Any, message: str) -> None:
    with pytest.raises(InputValueError, match=message):
        hybrid_score(Embedding(dense=dense), text(3))


@pytest.mark.parametrize("weights", [(1, 1), "abc", None, 3, ("a", 1, 1)])
def test_weights_are_three_numbers(weights: Any) -> None:
    with pytest.raises(InputTypeError, match="weights must be three numbers"):
        hybrid_score(text(2), text(2), weights=weights)


@pytest.mark.parametrize("weights", [(1, -1, 1), (float("nan"), 1, 1), (float("inf"), 1, 1)])
def test_weights_are_not_negative(weights: Any) -> None:
    with pytest.raises(InputValueError, match="weights must be 0 or more"):
        hybrid_score(text(2), text(2), weights=weights)


def test_weights_of_nothing_are_refused() -> None:
    with pytest.raises(InputValueError, match="the weights of all kinds that both texts have are 0"):
        hybrid_score(Embedding(dense=text(2).dense), text(2), weights=(0, 1, 1))
