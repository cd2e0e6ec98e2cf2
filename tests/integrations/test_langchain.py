"""langchain.py: LangChain's own standard tests; prompts, the event loop, a vector store, reranking."""

import asyncio
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, BundleError, Embedder, EmbedgeError, InputTypeError, InputValueError, Reranker

pytest.importorskip("langchain_core", reason="needs langchain-core: pip install 'embedge[langchain]'")
pytest.importorskip("langchain_tests", reason="needs langchain-tests: pip install langchain-tests")

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from embedge.integrations.langchain import EmbedgeEmbeddings, EmbedgeRerank
from no_card import CPU, CUDA, pretend_cuda


class TestStandardUnit(EmbeddingsUnitTests):
    """What LangChain asks of every class of embeddings."""

    @pytest.fixture(autouse=True)
    def _bundle(self, tiny_bundle: Bundle) -> None:
        self.path = tiny_bundle.path

    @property
    def embeddings_class(self) -> type[EmbedgeEmbeddings]:
        return EmbedgeEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": self.path}


class TestStandardIntegration(EmbeddingsIntegrationTests):
    """What LangChain asks of what they return."""

    @pytest.fixture(autouse=True)
    def _bundle(self, tiny_bundle: Bundle) -> None:
        self.path = tiny_bundle.path

    @property
    def embeddings_class(self) -> type[EmbedgeEmbeddings]:
        return EmbedgeEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": self.path}


def test_vectors_are_the_embedders(tiny: Embedder) -> None:
    embeddings = EmbedgeEmbeddings(tiny)
    texts = ["the cat sat on the mat", "a dog", ""]
    assert embeddings.embed_documents(texts) == tiny.encode(texts).tolist()
    assert embeddings.embed_query("bake bread") == tiny.encode("how do i bake bread").tolist()
    assert embeddings.embed_documents([]) == []


def test_options_and_prompts_are_the_constructors(tiny_bundle: Bundle, tiny: Embedder) -> None:
    embeddings = EmbedgeEmbeddings(
        model=str(tiny_bundle.path), precision="fp32", query_prompt="the ", document_prompt="a ", truncate_dim=8
    )
    assert embeddings.embed_query("cat") == tiny.encode("the cat", truncate_dim=8).tolist()
    assert embeddings.embed_documents(["cat"]) == tiny.encode(["a cat"], truncate_dim=8).tolist()


def test_the_event_loop_goes_on(tiny: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding waits here until the loop has run something else: it would wait in vain on the loop's own thread."""
    went_on = threading.Event()
    encode = Embedder.encode

    def wait_and_encode(self: Embedder, texts: Any, **options: Any) -> Any:
        assert went_on.wait(timeout=60)
        return encode(self, texts, **options)

    async def both() -> list[float]:
        embedding = asyncio.create_task(EmbedgeEmbeddings(tiny).aembed_query("the cat"))
        await asyncio.sleep(0.01)
        went_on.set()
        return await embedding

    expected = tiny.encode("how do i the cat").tolist()
    monkeypatch.setattr(Embedder, "encode", wait_and_encode)
    assert asyncio.run(both()) == expected


def test_a_pickle_embeds(tiny: Embedder) -> None:
    again = pickle.loads(pickle.dumps(EmbedgeEmbeddings(tiny, normalize=False)))
    assert again.embed_documents(["the cat"]) == tiny.encode(["the cat"], normalize=False).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"device": "cuda:1", "providers": [(CUDA, {"use_tf32": 1}), CPU]},
        {"providers": [[CUDA, {"device_id": "1", "use_tf32": True}], CPU]},
    ],
)
def test_a_device_and_options_reach_the_models(
    tiny_bundle: Bundle, reranker: Reranker, monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    asked = pretend_cuda(monkeypatch)
    embeddings = EmbedgeEmbeddings(tiny_bundle.path, **options)
    pickle.loads(pickle.dumps(embeddings))
    EmbedgeRerank(model=reranker.bundle.path, precision="int8", **options)
    assert len(asked) == 3
    for loaded in asked:
        cuda, cpu = loaded["providers"]
        assert (cuda.name, dict(cuda.options)) == (CUDA, {"device_id": "1", "use_tf32": "1"})
        assert cpu.name == CPU


def test_bad_input_is_an_error_of_embedge(tiny: Embedder, tmp_path: Path) -> None:
    with pytest.raises(EmbedgeError):
        EmbedgeEmbeddings(tmp_path)
    with pytest.raises(InputValueError, match="pass threads to Embedder"):
        EmbedgeEmbeddings(tiny, threads=1)
    with pytest.raises(InputTypeError, match="text 1 must be a string"):
        EmbedgeEmbeddings(tiny).embed_documents(["the cat", None])  # type: ignore[list-item]
    with pytest.raises(InputTypeError, match="one string"):
        EmbedgeEmbeddings(tiny).embed_documents("the cat")  # type: ignore[arg-type]


def test_a_vector_store_finds_what_is_meant(minilm_bundle: Bundle) -> None:
    store = InMemoryVectorStore(EmbedgeEmbeddings(minilm_bundle.path))
    store.add_texts(["The bike has a flat tyre.", "Yeast makes dough rise.", "The parliament voted."])
    (found,) = store.similarity_search("how do I bake bread?", k=1)
    assert found.page_content == "Yeast makes dough rise."


DOCUMENTS = [
    Document(page_content="a dog", metadata={"source": "x"}, id="0"),
    Document(page_content="the cat sat", metadata={"source": "y"}, id="1"),
    Document(page_content="the dog", metadata={"source": "z"}, id="2"),
]


def best(reranker: Reranker, query: str) -> list[tuple[float, str]]:
    """Logits and ids of DOCUMENTS, best first, by single calls."""
    scored = [(float(reranker.score((query, document.page_content))), str(document.id)) for document in DOCUMENTS]
    return sorted(scored, reverse=True)


def test_the_best_come_first_with_their_scores(reranker: Reranker) -> None:
    expected = best(reranker, "the cat sat")[:2]
    ranked = EmbedgeRerank(model=reranker, top_n=2).compress_documents(DOCUMENTS, "the cat sat")
    assert [document.id for document in ranked] == [name for _, name in expected]
    sigmoid = [1 / (1 + np.exp(-logit)) for logit, _ in expected]
    assert [document.metadata["relevance_score"] for document in ranked] == pytest.approx(sigmoid)
    assert all(document.metadata["source"] == "xyz"[int(document.id or "")] for document in ranked)
    assert all("relevance_score" not in document.metadata for document in DOCUMENTS)


def test_all_documents_and_logits_where_asked_for(reranker: Reranker) -> None:
    compressor = EmbedgeRerank(model=reranker.bundle.path, top_n=None, normalize=False)
    ranked = compressor.compress_documents(DOCUMENTS, "the cat")
    scores = [(document.metadata["relevance_score"], document.id) for document in ranked]
    assert scores == best(reranker, "the cat")
    assert compressor.compress_documents([], "the cat") == []


def test_reranking_has_an_async_twin(reranker: Reranker) -> None:
    compressor = EmbedgeRerank(model=reranker, top_n=1)
    ranked = asyncio.run(compressor.acompress_documents(DOCUMENTS, "the cat"))
    assert ranked == compressor.compress_documents(DOCUMENTS, "the cat")


def test_rerankings_bad_input_is_an_error(reranker: Reranker, tiny: Embedder) -> None:
    with pytest.raises(ValueError, match="top_k"):
        EmbedgeRerank(model=reranker, top_k=2)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="top_n"):
        EmbedgeRerank(model=reranker, top_n=0)
    with pytest.raises(BundleError, match="open it with embedge.Embedder"):
        EmbedgeRerank(model=tiny.bundle.path)
