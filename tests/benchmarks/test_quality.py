"""The quality benchmark: metrics against scipy and scikit-learn, sizes of the data, and rows end to end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from benchmarks import quality
from benchmarks.data.datasets import cut, read_collection, read_pairs
from benchmarks.measure.metrics import cosines, ndcg, rank, recall, spearman
from benchmarks.peers.padded import PaddedEncoder, pad, pool
from benchmarks.peers.table import PEERS, choose

SCORES = st.lists(st.integers(0, 5), min_size=3, max_size=30)


@given(SCORES, st.randoms(use_true_random=False))
def test_spearman_is_scipys(scores: list[int], random: Any) -> None:
    from scipy.stats import spearmanr

    other = [random.choice(scores) + random.choice([0, 0.5]) for _ in scores]
    if len(set(scores)) > 1 and len(set(other)) > 1:
        assert spearman(scores, other) == pytest.approx(spearmanr(scores, other).statistic, abs=1e-12)


@given(st.lists(st.integers(0, 4), min_size=12, max_size=20), st.randoms(use_true_random=False))
def test_ndcg_is_scikit_learns(grades: list[int], random: Any) -> None:
    from sklearn.metrics import ndcg_score

    ranking = list(range(len(grades)))
    random.shuffle(ranking)
    grades[0] = max(1, grades[0])
    scores = np.empty(len(grades))
    scores[ranking] = np.arange(len(grades), 0, -1)
    mine = ndcg(ranking, {place: grade for place, grade in enumerate(grades) if grade}, depth=10)
    assert mine == pytest.approx(ndcg_score([grades], [scores], k=10), abs=1e-12)


def test_ndcg_of_a_ranking_that_misses_a_relevant_document_is_below_1() -> None:
    assert ndcg([1], {1: 2, 2: 2}, depth=10) < 1
    assert ndcg([1, 2], {1: 2, 2: 2}, depth=10) == 1


def test_recall_counts_a_grade_of_0_as_irrelevant() -> None:
    assert recall([1, 2, 3], {1: 1, 9: 2, 3: 0}, depth=3) == 0.5


def test_rank_is_by_cosine() -> None:
    random = np.random.default_rng(0)
    queries, documents = (random.standard_normal((n, 8)).astype(np.float32) for n in (5, 40))
    unit = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    for query, found in zip(queries, rank(queries, unit, depth=7), strict=True):
        near = cosines(np.repeat(query[None], len(documents), axis=0), documents)
        assert found == np.argsort(-near)[:7].tolist()


def test_data_has_its_published_sizes(data: Path) -> None:
    pairs, dev = read_pairs(data), read_pairs(data, "dev")
    assert (len(pairs.scores), len(dev.scores)) == (1379, 1500)
    assert 0 <= min(pairs.scores) <= max(pairs.scores) <= 5
    cranfield = read_collection(data)
    assert (len(cranfield.queries), len(cranfield.documents)) == (225, 1400)
    assert all(grades for grades in cranfield.grades)


@given(st.text(alphabet="the cat sings 東京.", max_size=80), st.integers(3, 12))
def test_a_cut_text_has_the_first_tokens_of_the_whole(tiny_tokenizer: Tokenizer, text: str, limit: int) -> None:
    (short,) = cut([text], tiny_tokenizer, max_tokens=limit)
    whole = tiny_tokenizer.encode(text, add_special_tokens=False).ids
    found = tiny_tokenizer.encode(short, add_special_tokens=False).ids
    assert found == whole[: len(found)]
    assert len(found) <= limit - 2


@pytest.fixture(scope="session")
def tiny_tokenizer(make_checkpoint: Callable[..., Path]) -> Tokenizer:
    return Tokenizer.from_file(str(make_checkpoint() / "tokenizer.json"))


def test_padded_encoder_pools_each_text_alone(tiny_tokenizer: Tokenizer) -> None:
    def run(ids: Any, mask: Any) -> Any:  # a "model" whose hidden state encodes the token id, with noise at the padding
        return np.where(mask[..., None] == 1, np.eye(64)[ids], 9.0)

    tiny_tokenizer.no_padding()
    texts = ["the cat", "the dog ran far away", "mat"]
    vectors = PaddedEncoder(size=0, tokenizer=tiny_tokenizer, pooling="mean", run=run).encode(texts)
    for text, vector in zip(texts, vectors, strict=True):
        counts = np.bincount(tiny_tokenizer.encode(text).ids, minlength=64)
        np.testing.assert_allclose(vector, counts / np.linalg.norm(counts), atol=1e-6)


@pytest.mark.parametrize(("pooling", "place"), [("cls", 0), ("last", 1)])
def test_padded_pooling_takes_one_token(pooling: str, place: int) -> None:
    _, mask = pad([[1, 2], [1, 2, 3]])
    hidden = np.random.default_rng(0).standard_normal((2, 3, 4))
    wanted = hidden[0, place] / np.linalg.norm(hidden[0, place])
    np.testing.assert_allclose(pool(hidden, mask, pooling)[0], wanted, atol=1e-6)


def test_rows_are_chosen_by_pattern() -> None:
    assert choose([]) == PEERS
    assert [peer.name for peer in choose(["stock-*"])] == ["stock-int8-tensor", "stock-int8-channel"]
    with pytest.raises(LookupError, match="no row is called 'x'"):
        choose(["x"])


def bench(*arguments: str) -> Any:
    return CliRunner().invoke(quality.main, arguments)


def test_own_and_stock_rows_end_to_end(small_data: Path, make_checkpoint: Callable[..., Path]) -> None:
    model, out = str(make_checkpoint(pooling="mean")), small_data / "out.json"
    done = bench(
        "-m", model, "--only", "embedge-fp32", "--only", "embedge-int8", "--only", "stock-*", "--json", str(out)
    )
    assert done.exit_code == 0, done.output
    scores = json.loads(out.read_text())["scores"]
    assert list(scores) == ["embedge-fp32", "embedge-int8", "stock-int8-tensor", "stock-int8-channel"]
    assert scores["embedge-fp32"]["cosine_min"] == pytest.approx(1, abs=1e-6)
    assert 0.9 < scores["embedge-int8"]["cosine_min"] < 1 - 1e-7
    # Another exporter and quantisation of the same weights: similar, but not the same.
    assert 0.9 < scores["stock-int8-channel"]["cosine_min"] < 1 - 1e-7
    assert scores["embedge-int8"]["size"] < scores["embedge-fp32"]["size"]
    assert all(0 <= score["cranfield_ndcg_10"] <= 100 for score in scores.values())


def test_without_data_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDGE_DATA", raising=False)
    done = bench("--only", "embedge-fp32")
    assert done.exit_code == 1
    assert "export EMBEDGE_DATA=DIR" in done.output


def test_list_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDGE_DATA", raising=False)
    done = bench("--list")
    assert done.exit_code == 0
    assert all(peer.name in done.output for peer in PEERS)
