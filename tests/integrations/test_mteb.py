"""integrations/mteb.py: mteb's own evaluator, on data that are here and without a hub."""

import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.data.datasets import read_pairs
from benchmarks.measure.metrics import cosines, ndcg, rank, spearman
from embedge import Bundle, Embedder, MissingExtraError
from embedge.integrations.mteb import EmbedgeEncoder
from embedge_export.verify.passages import passages, questions

mteb = pytest.importorskip("mteb", reason="needs mteb, which the test extra brings")
datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def describe(name: str, kind: str, score: str) -> Any:
    from mteb.abstasks.task_metadata import TaskMetadata

    return TaskMetadata(
        name=name,
        description="local data",
        dataset={"path": "local", "revision": "1"},
        type=kind,
        category="t2t",
        eval_langs=["eng-Latn"],
        eval_splits=["test"],
        main_score=score,
    )


def sts(folder: Path) -> Any:
    """A task of STS-B's test pairs."""
    from mteb.abstasks import AbsTaskSTS

    class LocalSTS(AbsTaskSTS):  # type: ignore[misc]
        metadata = describe("LocalSTS", "STS", "cosine_spearman")

        def load_data(self, num_proc: int | None = None, **options: Any) -> None:
            pairs = read_pairs(folder)
            columns = {"sentence1": pairs.first, "sentence2": pairs.second, "score": pairs.scores}
            self.dataset = {"test": datasets.Dataset.from_dict(columns)}
            self.data_loaded = True

    return LocalSTS()


def retrieval() -> Any:
    """A task of the exporter's questions and passages."""
    from mteb.abstasks import AbsTaskRetrieval

    class LocalRetrieval(AbsTaskRetrieval):  # type: ignore[misc]
        metadata = describe("LocalRetrieval", "Retrieval", "ndcg_at_10")

        def load_data(self, num_proc: int | None = None, **options: Any) -> None:
            corpus = [{"id": passage.id, "title": passage.title, "text": passage.text} for passage in passages()]
            queries = [{"id": question.id, "text": question.text} for question in questions()]
            split = {
                "corpus": datasets.Dataset.from_list(corpus),
                "queries": datasets.Dataset.from_list(queries),
                "relevant_docs": {question.id: {question.answer: 1} for question in questions()},
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return LocalRetrieval()


def evaluate(encoder: EmbedgeEncoder, task: Any) -> float:
    (result,) = mteb.evaluate(encoder, task, cache=None, show_progress_bar=False).task_results
    return 100 * float(result.get_score())


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError(f"a connection was asked for: {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def minilm(minilm_bundle: Bundle) -> Embedder:
    return Embedder(minilm_bundle.path, precision="fp32")


def test_an_encoder_is_mtebs_encoder(tiny: Embedder) -> None:
    assert isinstance(EmbedgeEncoder(tiny), mteb.EncoderProtocol)


@pytest.mark.usefixtures("no_network")
def test_sts_scores_what_the_benchmark_scores(minilm: Embedder, data: Path) -> None:
    """82.03 is the published score."""
    pairs = read_pairs(data)
    vectors = [minilm.encode(texts, on_truncate="ignore") for texts in (pairs.first, pairs.second)]
    found = evaluate(EmbedgeEncoder(minilm), sts(data))
    assert found == pytest.approx(100 * spearman(cosines(*vectors), pairs.scores), abs=1e-3)
    assert found == pytest.approx(82.03, abs=0.005)


@pytest.mark.usefixtures("no_network")
def test_retrieval_scores_what_the_benchmark_scores(minilm: Embedder) -> None:
    documents = minilm.encode_document([passage.joined for passage in passages()])
    place = {passage.id: position for position, passage in enumerate(passages())}
    ranking = rank(minilm.encode_query([question.text for question in questions()]), documents, depth=10)
    answers = [{place[question.answer]: 1} for question in questions()]
    expected = 100 * float(np.mean([ndcg(*pair, depth=10) for pair in zip(ranking, answers, strict=True)]))
    assert evaluate(EmbedgeEncoder(minilm), retrieval()) == pytest.approx(expected, abs=1e-3)


def test_the_kind_of_text_chooses_the_prompt(tiny: Embedder) -> None:
    from mteb.types import PromptType

    def encode(kind: Any) -> Any:
        loader = [{"text": ["bake bread"]}, {"text": ["a cat", "the mat"]}]
        metadata = {
            "task_metadata": describe("Local", "STS", "cosine_spearman"),
            "hf_split": "test",
            "hf_subset": "default",
        }
        return EmbedgeEncoder(tiny).encode(loader, prompt_type=kind, **metadata)

    texts = ["bake bread", "a cat", "the mat"]
    np.testing.assert_array_equal(encode(PromptType.query), tiny.encode([f"how do i {text}" for text in texts]))
    np.testing.assert_array_equal(encode(PromptType.document), tiny.encode(texts))
    np.testing.assert_array_equal(encode(None), tiny.encode(texts))


def test_results_are_kept_by_model_precision_and_graph(tiny_bundle: Bundle) -> None:
    metas = [EmbedgeEncoder(Embedder(tiny_bundle.path, precision=p)).mteb_model_meta for p in ("int8", "fp32")]
    assert [meta.name for meta in metas] == ["embedge/tiny-int8", "embedge/tiny-fp32"]
    assert metas[0].revision != metas[1].revision
    assert (metas[0].embed_dim, metas[0].max_tokens) == (32, tiny_bundle.manifest.max_tokens)


def test_without_mteb_the_error_says_what_to_install(tiny: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb.models", None)
    with pytest.raises(MissingExtraError, match="is not installed; run `pip install mteb`"):
        _ = EmbedgeEncoder(tiny).mteb_model_meta
