"""Lexical weights, vectors of tokens and reranker scores on a card, compared with those of fp32 on the CPU."""

import numpy as np
import pytest

from benchmarks.measure.metrics import cosines
from embedge import Bundle, Embedder, Reranker
from embedge.bundle.manifest import Precision
from embedge_export.verify.passages import passages, questions

PROVIDERS = {"cpu": None, "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
TEXTS = [passage.joined for passage in passages()[:40]] + ["", "bread", "a b", "東京 🚲"]
PAIRS = [(question.text, passage.joined) for question in questions()[:6] for passage in passages()[:12]]
# The largest differences of weights up to 13, and of scores over a range of 6. With torch, float16 has 0.02.
FARTHEST: dict[Precision, float] = {"fp16": 0.1, "fp32": 1e-3}


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_lexical_weights_are_those_of_the_cpu(m3_bundle: Bundle, device: str, precision: Precision) -> None:
    model = Embedder(m3_bundle.path, precision=precision, device=device)
    expected = Embedder(m3_bundle.path, precision="fp32", device="cpu").encode_sparse(TEXTS)
    assert max(wanted.values.max(initial=0) for wanted in expected) > 5
    for found, wanted in zip(model.encode_sparse(TEXTS), expected, strict=True):
        mine, theirs = found.as_dict(), wanted.as_dict()
        # A weight near 0 may be there or not.
        assert all(abs(mine.get(k, 0) - theirs.get(k, 0)) < FARTHEST[precision] for k in {*mine, *theirs})


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_vectors_of_tokens_are_those_of_the_cpu(m3_bundle: Bundle, device: str, precision: Precision) -> None:
    model = Embedder(m3_bundle.path, precision=precision, device=device)
    expected = Embedder(m3_bundle.path, precision="fp32", device="cpu").encode_multi_vector(TEXTS)
    for found, wanted in zip(model.encode_multi_vector(TEXTS), expected, strict=True):
        assert found.shape == wanted.shape  # padding has no vector
        assert cosines(found, wanted).min() >= 0.9999


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_one_run_gives_what_three_give(m3_bundle: Bundle, device: str, precision: Precision) -> None:
    """The dense vectors are pooled on the card, and the other outputs of the same run are copied from it."""
    model = Embedder(m3_bundle.path, precision=precision, device=device)
    found = model.encode_all(TEXTS, multi_vector=True)
    assert found.dense is not None
    np.testing.assert_allclose(found.dense, model.encode(TEXTS), atol=1e-3)
    for one, weights, vectors in zip(found, model.encode_sparse(TEXTS), model.encode_multi_vector(TEXTS), strict=True):
        assert one.sparse is not None
        assert one.multi_vector is not None
        assert cosines(one.multi_vector, vectors).min() >= 0.9999
        mine, theirs = one.sparse.as_dict(), weights.as_dict()
        assert all(abs(mine.get(k, 0) - theirs.get(k, 0)) < FARTHEST[precision] for k in {*mine, *theirs})


def test_dense_vectors_of_roberta_are_those_of_the_cpu(m3_bundle: Bundle, device: str) -> None:
    """RoBERTa numbers the positions of its tokens itself; padding must not shift them."""
    found = Embedder(m3_bundle.path, precision="fp16", device=device).encode(TEXTS)
    expected = Embedder(m3_bundle.path, precision="fp32", device="cpu").encode(TEXTS)
    assert cosines(found, expected).min() >= 0.99999


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_scores_are_those_of_the_cpu(reranker_bundle: Bundle, device: str, precision: Precision) -> None:
    model = Reranker(reranker_bundle.path, precision=precision, providers=PROVIDERS[device])
    expected = Reranker(reranker_bundle.path, precision="fp32").score(PAIRS)
    found = model.score(PAIRS)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, atol=FARTHEST[precision])
    np.testing.assert_allclose([model.score(pair) for pair in PAIRS[:9]], found[:9], atol=FARTHEST[precision])
