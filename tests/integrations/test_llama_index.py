"""llama_index.py: prompts, batches, the event loop, an index, saving, reranking."""

import asyncio
import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, EmbedgeError, InputValueError, Reranker

pytest.importorskip("llama_index.core", reason="needs llama-index-core: pip install 'embedge[llama-index]'")

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import SimilarityMode
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from embedge.integrations.llama_index import EmbedgeEmbedding, EmbedgeRerank
from no_card import CPU, CUDA, pretend_cuda


def test_vectors_are_the_embedders(tiny: Embedder) -> None:
    model = EmbedgeEmbedding(tiny)
    texts = ["the cat sat on the mat", "a dog", ""]
    assert model.get_text_embedding_batch(texts) == tiny.encode(texts).tolist()
    assert model.get_text_embedding("the cat") == tiny.encode("the cat").tolist()
    assert model.get_query_embedding("bake bread") == tiny.encode("how do i bake bread").tolist()


def test_options_and_prompts_are_the_constructors(tiny_bundle: Bundle, tiny: Embedder) -> None:
    model = EmbedgeEmbedding(
        model_name=str(tiny_bundle.path),
        precision="fp32",
        query_instruction="the ",
        text_instruction="a ",
        normalize=False,
        truncate_dim=8,
    )
    assert model.get_query_embedding("cat") == tiny.encode("the cat", normalize=False, truncate_dim=8).tolist()
    assert model.get_text_embedding("cat") == tiny.encode("a cat", normalize=False, truncate_dim=8).tolist()


def test_the_embedder_gets_many_texts_at_once(tiny: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex's default of 10 would leave nothing to sort and batch."""
    calls = []
    encode = Embedder.encode

    def note(self: Embedder, texts: Any, **options: Any) -> Any:
        calls.append(len(texts))
        return encode(self, texts, **options)

    monkeypatch.setattr(Embedder, "encode", note)
    EmbedgeEmbedding(tiny).get_text_embedding_batch(["the cat"] * 100)
    EmbedgeEmbedding(tiny, embed_batch_size=60).get_text_embedding_batch(["the cat"] * 100)
    assert calls == [100, 60, 40]


def test_the_event_loop_goes_on(tiny: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding waits here until the loop has run something else: it would wait in vain on the loop's own thread."""
    went_on = threading.Event()
    encode = Embedder.encode

    def wait_and_encode(self: Embedder, texts: Any, **options: Any) -> Any:
        assert went_on.wait(timeout=60)
        return encode(self, texts, **options)

    async def all_three() -> list[Any]:
        model = EmbedgeEmbedding(tiny)
        tasks = [
            asyncio.create_task(model.aget_query_embedding("cat")),
            asyncio.create_task(model.aget_text_embedding("cat")),
            asyncio.create_task(model.aget_text_embedding_batch(["cat", "dog"])),
        ]
        await asyncio.sleep(0.01)
        went_on.set()
        return await asyncio.gather(*tasks)

    expected = [tiny.encode("how do i cat").tolist(), tiny.encode("cat").tolist(), tiny.encode(["cat", "dog"]).tolist()]
    monkeypatch.setattr(Embedder, "encode", wait_and_encode)
    assert asyncio.run(all_three()) == expected


def test_a_saved_model_is_the_same(tiny_bundle: Bundle) -> None:
    """Also one that was made of an Embedder: its bundle's path and options are saved."""
    embedder = Embedder(tiny_bundle.path, precision="fp32", threads=1)
    for model in (
        EmbedgeEmbedding(embedder, truncate_dim=8),
        EmbedgeEmbedding(str(tiny_bundle.path), precision="fp32"),
    ):
        again = EmbedgeEmbedding.from_dict(json.loads(json.dumps(model.to_dict())))
        assert again.to_dict() == model.to_dict()
        assert again.get_query_embedding("cat") == model.get_query_embedding("cat")
        assert pickle.loads(pickle.dumps(model)).get_query_embedding("cat") == model.get_query_embedding("cat")


@pytest.mark.parametrize("is_open", [True, False])
def test_a_saved_model_keeps_its_device_and_the_options_of_its_providers(
    tiny_bundle: Bundle, reranker: Reranker, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    asked = pretend_cuda(monkeypatch)
    options: dict[str, Any] = {"device": "cuda:1", "providers": [(CUDA, {"use_tf32": 1}), CPU], "precision": "int8"}
    faces: list[tuple[Any, Any, Path]] = [
        (EmbedgeEmbedding, Embedder, tiny_bundle.path),
        (EmbedgeRerank, Reranker, reranker.bundle.path),
    ]
    for face, kind, path in faces:
        model = face(kind(path, **options)) if is_open else face(path, **options)
        again = face.from_dict(json.loads(json.dumps(model.to_dict())))
        assert again.to_dict() == model.to_dict()
        pickle.loads(pickle.dumps(model))
    assert len(asked) >= 6  # LlamaIndex opens a reranker twice when it is unpickled
    for loaded in asked:
        cuda, cpu = loaded["providers"]
        assert (cuda.name, dict(cuda.options)) == (CUDA, {"device_id": "1", "use_tf32": "1"})
        assert cpu.name == CPU


def test_bad_input_is_an_error_of_embedge(tiny: Embedder, tmp_path: Path) -> None:
    with pytest.raises(EmbedgeError):
        EmbedgeEmbedding(tmp_path)
    with pytest.raises(InputValueError, match="pass threads to Embedder"):
        EmbedgeEmbedding(tiny, threads=1)


def test_an_index_finds_what_is_meant(minilm_bundle: Bundle) -> None:
    texts = ["The bike has a flat tyre.", "Yeast makes dough rise.", "The parliament voted."]
    model = EmbedgeEmbedding(minilm_bundle.path)
    nodes = IngestionPipeline(transformations=[model]).run(documents=[Document(text=text) for text in texts])
    (found,) = (
        VectorStoreIndex(nodes, embed_model=model).as_retriever(similarity_top_k=1).retrieve("how to bake bread?")
    )
    assert found.node.get_content() == "Yeast makes dough rise."


def nodes() -> list[NodeWithScore]:
    texts = ["a dog", "the cat sat", "the dog"]
    return [NodeWithScore(node=TextNode(text=text, id_=text), score=0.5) for text in texts]


def best(reranker: Reranker, query: str) -> list[tuple[float, str]]:
    """Logits and ids of the nodes, best first, by single calls."""
    return sorted([(float(reranker.score((query, node.node.node_id))), node.node.node_id) for node in nodes()])[::-1]


def test_the_best_come_first_with_their_scores(reranker: Reranker) -> None:
    found, expected = nodes(), best(reranker, "the cat sat")[:2]
    ranked = EmbedgeRerank(reranker, top_n=2).postprocess_nodes(found, query_str="the cat sat")
    assert [node.node.node_id for node in ranked] == [name for _, name in expected]
    assert [node.score for node in ranked] == pytest.approx([1 / (1 + np.exp(-logit)) for logit, _ in expected])
    assert [node.score for node in found] == [0.5, 0.5, 0.5]


def test_the_retrievers_score_is_kept_where_asked_for(reranker: Reranker) -> None:
    found = nodes()
    rerank = EmbedgeRerank(reranker.bundle.path, top_n=3, normalize=False, keep_retrieval_score=True)
    ranked = rerank.postprocess_nodes(found, QueryBundle("the cat sat"))
    assert [(node.score, node.node.node_id) for node in ranked] == best(reranker, "the cat sat")
    assert [node.node.metadata for node in ranked] == [{"retrieval_score": 0.5}] * 3
    assert [node.node.metadata for node in found] == [{}] * 3


def test_meta_data_is_read_as_it_is_when_embedding(reranker: Reranker) -> None:
    node = TextNode(text="the cat", metadata={"title": "sat", "path": "x"}, excluded_embed_metadata_keys=["path"])
    (ranked,) = EmbedgeRerank(reranker, normalize=False).postprocess_nodes([NodeWithScore(node=node)], query_str="cat")
    assert ranked.score == float(reranker.score(("cat", "title: sat\n\nthe cat")))


def test_reranking_has_an_async_twin(reranker: Reranker) -> None:
    ranked = asyncio.run(EmbedgeRerank(reranker, top_n=1).apostprocess_nodes(nodes(), query_str="the cat sat"))
    assert [node.node.node_id for node in ranked] == [best(reranker, "the cat sat")[0][1]]


def test_reranking_without_a_query_or_nodes(reranker: Reranker) -> None:
    assert EmbedgeRerank(reranker).postprocess_nodes([], query_str="the cat") == []
    with pytest.raises(InputValueError, match="needs the query"):
        EmbedgeRerank(reranker).postprocess_nodes(nodes())


def test_a_saved_reranker_is_the_same(reranker: Reranker) -> None:
    rerank = EmbedgeRerank(reranker, top_n=1, normalize=False)
    again = EmbedgeRerank.from_dict(json.loads(json.dumps(rerank.to_dict())))
    assert again.to_dict() == rerank.to_dict()
    assert again.postprocess_nodes(nodes(), query_str="cat") == rerank.postprocess_nodes(nodes(), query_str="cat")


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean", "manhattan"])
def test_vectors_are_compared_as_the_model_has_it(compared_by: Callable[[str], Embedder], measure: str) -> None:
    embedder = compared_by(measure)
    a, b = embedder.encode(["the cat", "a dog"]).tolist()
    found = EmbedgeEmbedding(embedder).similarity(a, b)
    assert found == pytest.approx(float(embedder.similarity(np.array(a), np.array(b))[0, 0]))
    dot = EmbedgeEmbedding(embedder).similarity(a, b, SimilarityMode.DOT_PRODUCT)
    assert dot == pytest.approx(float(np.dot(a, b)), rel=1e-5)
