"""haystack.py: vectors, meta data, pipelines that are saved and loaded, reranking."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, EmbedgeError, InputTypeError, InputValueError, Reranker

pytest.importorskip("haystack", reason="needs haystack-ai: pip install 'embedge[haystack]'")

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from embedge.integrations.haystack import EmbedgeDocumentEmbedder, EmbedgeRanker, EmbedgeTextEmbedder
from no_card import CPU, CUDA, pretend_cuda

DOCUMENTS = [
    Document(content="a dog", meta={"title": "the cat", "year": 1}),
    Document(content="the cat sat", meta={"title": None}),
    Document(content=None),
]


def test_a_querys_vector_is_the_embedders(tiny: Embedder) -> None:
    assert EmbedgeTextEmbedder(tiny).run("bake bread") == {"embedding": tiny.encode("how do i bake bread").tolist()}
    mine = EmbedgeTextEmbedder(tiny, prefix="the ", suffix=" sat", normalize_embeddings=False, truncate_dim=8)
    expected = tiny.encode("the cat sat", normalize=False, truncate_dim=8).tolist()
    assert mine.run("cat") == {"embedding": expected}


def test_documents_are_copied_with_their_vectors(tiny: Embedder) -> None:
    embedded = EmbedgeDocumentEmbedder(tiny).run(DOCUMENTS)["documents"]
    expected = tiny.encode(["a dog", "the cat sat", ""]).tolist()
    assert [document.embedding for document in embedded] == expected
    assert [document.meta for document in embedded] == [document.meta for document in DOCUMENTS]
    assert [document.id for document in embedded] == [document.id for document in DOCUMENTS]
    assert DOCUMENTS[0].embedding is None
    assert EmbedgeDocumentEmbedder(tiny).run([]) == {"documents": []}


def test_meta_data_is_embedded_where_a_document_has_it(tiny: Embedder) -> None:
    embedder = EmbedgeDocumentEmbedder(
        tiny, prefix="how ", suffix=" .", meta_fields_to_embed=["title", "year"], embedding_separator=" , "
    )
    expected = tiny.encode(["how the cat , 1 , a dog .", "how the cat sat .", "how  ."]).tolist()
    assert [document.embedding for document in embedder.run(DOCUMENTS)["documents"]] == expected


@pytest.mark.parametrize("kind", [EmbedgeTextEmbedder, EmbedgeDocumentEmbedder, EmbedgeRanker])
def test_every_argument_is_saved_and_read_again(kind: Any, tiny_bundle: Bundle) -> None:
    """Each with another value than its default, so that one that is left out shows."""
    arguments: dict[str, Any] = {
        "model": str(tiny_bundle.path),
        "precision": "fp32",
        "device": "cpu",
        "providers": [["CPUExecutionProvider", {}]],
        "threads": 1,
        "cache_dir": "cache",
        "local_files_only": True,
        "kernels": False,
        "batch_tokens": 100,
        "on_truncate": "error",
    }
    if kind is not EmbedgeRanker:
        arguments |= {"prefix": "a ", "suffix": " b", "normalize_embeddings": False, "truncate_dim": 8}
    if kind is not EmbedgeTextEmbedder:
        arguments |= {"meta_fields_to_embed": ["title"], "embedding_separator": " "}
    if kind is EmbedgeDocumentEmbedder:
        arguments |= {"progress_bar": False}
    if kind is EmbedgeRanker:
        arguments |= {"top_k": 3, "scale_score": False, "score_threshold": 0.5}
    saved = kind(**arguments).to_dict()
    assert saved == {"type": f"embedge.integrations.haystack.{kind.__name__}", "init_parameters": arguments}
    assert kind.from_dict(saved).to_dict() == saved


def test_a_saved_pipeline_embeds_the_same(tiny_bundle: Bundle) -> None:
    embedder = Embedder(tiny_bundle.path, precision="fp32", threads=1)
    pipeline = Pipeline()
    pipeline.add_component("query", EmbedgeTextEmbedder(embedder))
    pipeline.add_component("documents", EmbedgeDocumentEmbedder(str(tiny_bundle.path), precision="fp32"))
    inputs = {"query": {"text": "cat"}, "documents": {"documents": DOCUMENTS}}
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["embedge.integrations.haystack"])
    assert again.run(inputs) == pipeline.run(inputs)


def test_a_saved_pipeline_keeps_the_device_and_the_options_of_providers(
    tiny_bundle: Bundle, reranker: Reranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a loaded model, and of one that is not; a pipeline is saved as YAML, which has no pairs."""
    asked = pretend_cuda(monkeypatch)
    options: dict[str, Any] = {"device": "cuda:1", "providers": [(CUDA, {"use_tf32": 1}), CPU], "precision": "int8"}
    pipeline = Pipeline()
    pipeline.add_component("query", EmbedgeTextEmbedder(Embedder(tiny_bundle.path, **options)))
    pipeline.add_component("documents", EmbedgeDocumentEmbedder(tiny_bundle.path, **options))
    pipeline.add_component("ranker", EmbedgeRanker(reranker.bundle.path, **options))
    Pipeline.loads(pipeline.dumps(), allowed_modules=["embedge.integrations.haystack"]).warm_up()
    assert len(asked) == 4
    for loaded in asked:
        cuda, cpu = loaded["providers"]
        assert (cuda.name, dict(cuda.options)) == (CUDA, {"device_id": "1", "use_tf32": "1"})
        assert cpu.name == CPU


def test_a_pipeline_loads_in_a_process_that_knows_its_components_by_their_names_alone(tiny_bundle: Bundle) -> None:
    """The names that pipelines have been saved with."""
    text = f"""
components:
  query:
    type: embedge.integrations.haystack.EmbedgeTextEmbedder
    init_parameters: {{model: {tiny_bundle.path}}}
  documents:
    type: embedge.integrations.haystack.EmbedgeDocumentEmbedder
    init_parameters: {{model: {tiny_bundle.path}}}
  ranker:
    type: embedge.integrations.haystack.EmbedgeRanker
    init_parameters: {{top_k: 3}}
connections: []
"""
    code = """
import sys
from haystack import Pipeline
loaded = Pipeline.loads(sys.stdin.read(), allowed_modules=["embedge.integrations.haystack"])
print(*(type(loaded.get_component(name)).__name__ for name in ("query", "documents", "ranker")))
"""
    done = subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=False)
    assert done.stdout == "EmbedgeTextEmbedder EmbedgeDocumentEmbedder EmbedgeRanker\n", done.stderr


@pytest.mark.parametrize("kind", [EmbedgeTextEmbedder, EmbedgeDocumentEmbedder, EmbedgeRanker])
def test_components_pickle_by_their_public_names(kind: Any, tiny_bundle: Bundle) -> None:
    saved = pickle.dumps(kind(tiny_bundle.path))
    assert b"embedge.integrations.haystack" in saved  # and of no module inside
    assert b"embedge.integrations.haystack." not in saved
    assert pickle.loads(saved).to_dict() == kind(tiny_bundle.path).to_dict()


def test_a_model_is_loaded_when_it_is_needed(tmp_path: Path) -> None:
    """Constructors are cheap, as Haystack's are; the error comes from warm_up, or from run."""
    with pytest.raises(EmbedgeError):
        EmbedgeTextEmbedder(tmp_path).warm_up()
    with pytest.raises(EmbedgeError):
        EmbedgeDocumentEmbedder(tmp_path).run([])


def test_bad_input_is_an_error_of_embedge(tiny: Embedder) -> None:
    with pytest.raises(InputTypeError, match="EmbedgeDocumentEmbedder takes Documents"):
        EmbedgeTextEmbedder(tiny).run(DOCUMENTS)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="document 1 must be a haystack Document, found str"):
        EmbedgeDocumentEmbedder(tiny).run([DOCUMENTS[0], "the cat"])  # type: ignore[list-item]
    with pytest.raises(InputValueError, match="pass threads to Embedder"):
        EmbedgeTextEmbedder(tiny, threads=1)
    with pytest.raises(InputValueError, match="top_k must be at least 1"):
        EmbedgeRanker(top_k=0)


def test_a_pipeline_finds_what_is_meant(minilm_bundle: Bundle) -> None:
    embedder = Embedder(minilm_bundle.path)
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    texts = ["The bike has a flat tyre.", "Yeast makes dough rise.", "The parliament voted."]
    store.write_documents(EmbedgeDocumentEmbedder(embedder).run([Document(content=t) for t in texts])["documents"])
    search = Pipeline()
    search.add_component("embedder", EmbedgeTextEmbedder(embedder))
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    search.connect("embedder.embedding", "retriever.query_embedding")
    (found,) = search.run({"embedder": {"text": "how do I bake bread?"}})["retriever"]["documents"]
    assert found.content == "Yeast makes dough rise."


def best(reranker: Reranker, query: str, texts: list[str]) -> list[tuple[float, str]]:
    """Logits of texts and ids of DOCUMENTS, best first, by single calls."""
    pairs = zip(DOCUMENTS, texts, strict=True)
    return sorted([(float(reranker.score((query, text))), document.id) for document, text in pairs], reverse=True)


CONTENTS = ["a dog", "the cat sat", ""]


def test_the_best_come_first_with_their_scores(reranker: Reranker) -> None:
    ranked = EmbedgeRanker(reranker, top_k=2).run("the cat sat", DOCUMENTS)["documents"]
    expected = best(reranker, "the cat sat", CONTENTS)[:2]
    assert [document.id for document in ranked] == [name for _, name in expected]
    assert [document.score for document in ranked] == pytest.approx([1 / (1 + np.exp(-x)) for x, _ in expected])
    assert all(document.score is None for document in DOCUMENTS)


def test_runs_arguments_win_over_the_constructors(reranker: Reranker) -> None:
    ranker = EmbedgeRanker(reranker.bundle.path, top_k=1, scale_score=True, score_threshold=1)
    assert ranker.run("the cat sat", DOCUMENTS) == {"documents": []}
    ranked = ranker.run("the cat sat", DOCUMENTS, top_k=3, scale_score=False, score_threshold=-1000)["documents"]
    assert [(document.score, document.id) for document in ranked] == best(reranker, "the cat sat", CONTENTS)


def test_a_threshold_leaves_out_what_is_below_it(reranker: Reranker) -> None:
    expected = best(reranker, "the cat sat", CONTENTS)
    ranker = EmbedgeRanker(reranker, scale_score=False, score_threshold=expected[1][0])
    ranked = ranker.run("the cat sat", DOCUMENTS)["documents"]
    assert [(document.score, document.id) for document in ranked] == expected[:2]


def test_meta_data_is_ranked_where_a_document_has_it(reranker: Reranker) -> None:
    ranker = EmbedgeRanker(reranker, scale_score=False, meta_fields_to_embed=["title"], embedding_separator=" ")
    ranked = ranker.run("cat dog", DOCUMENTS)["documents"]
    expected = best(reranker, "cat dog", ["the cat a dog", "the cat sat", ""])
    assert [(document.score, document.id) for document in ranked] == expected
