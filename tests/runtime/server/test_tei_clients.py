"""llama-index's text-embeddings-inference classes and huggingface_hub's InferenceClient, in their default settings."""

import warnings
from typing import Any

import numpy as np
import pytest

from embedge import Embedder, Reranker
from running_server import CLIENTS, Server, needs_server

pytestmark = [needs_server, pytest.mark.filterwarnings("ignore")]  # the clients' own
TEXTS = ["the cat sat on the mat", "how do i bake bread ?", "東 京"]
QUESTION = "how do i bake bread ?"


def client_module(name: str, package: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"needs {package}: pip install -r {CLIENTS}")


def same(found: Any, expected: Any) -> bool:
    return np.array_equal(np.array(found, np.float32), expected)


def test_llama_index_embeds(server: Server, embedder: Embedder) -> None:
    package = "llama-index-embeddings-text-embeddings-inference"
    module = client_module("llama_index.embeddings.text_embeddings_inference", package)
    model = module.TextEmbeddingsInference(model_name="tiny", base_url=server.url)
    long = "the cat " * 100  # the class asks for truncation
    assert same(model.get_text_embedding_batch([*TEXTS, long]), embedder.encode([*TEXTS, long], on_truncate="ignore"))
    assert same(model.get_query_embedding(TEXTS[0]), embedder.encode(TEXTS[0]))


def test_llama_index_adds_the_prompt_of_a_bge_model_itself(server: Server, embedder: Embedder) -> None:
    """So the server must not add it again."""
    package = "llama-index-embeddings-text-embeddings-inference"
    module = client_module("llama_index.embeddings.text_embeddings_inference", package)
    model = module.TextEmbeddingsInference(model_name="BAAI/bge-small-en-v1.5", base_url=server.url)
    found = model.get_query_embedding("the cat")
    assert not same(found, embedder.encode("the cat"))
    assert not same(found, embedder.encode_query("the cat"))
    prompt = "Represent this sentence for searching relevant passages:"
    assert same(found, embedder.encode(f"{prompt} the cat"))


def test_llama_index_reranks(server: Server, reranker: Reranker) -> None:
    module = client_module("llama_index.postprocessor.tei_rerank", "llama-index-postprocessor-tei-rerank")
    schema = client_module("llama_index.core.schema", "llama-index-core")
    nodes = [schema.NodeWithScore(node=schema.TextNode(text=text)) for text in TEXTS]
    found = module.TextEmbeddingInference(base_url=server.url, top_n=2).postprocess_nodes(nodes, query_str=QUESTION)
    expected = reranker.rank(QUESTION, TEXTS, normalize=True, top_k=2)
    assert [(node.node.text, np.float32(node.score)) for node in found] == [
        (TEXTS[index], np.float32(score)) for index, score in expected
    ]


@pytest.fixture
def hub_client(server: Server) -> Any:
    return client_module("huggingface_hub", "huggingface_hub").InferenceClient(server.url)


def test_huggingface_hub_embeds(hub_client: Any, embedder: Embedder) -> None:
    assert same(hub_client.feature_extraction("the cat"), embedder.encode(["the cat"]))
    found = hub_client.feature_extraction("the cat", prompt_name="query", normalize=True, truncate=True)
    assert same(found, embedder.encode_query(["the cat"]))


def test_huggingface_hub_compares_sentences(hub_client: Any, embedder: Embedder) -> None:
    found = hub_client.sentence_similarity("the cat", other_sentences=TEXTS)
    vectors = embedder.encode(["the cat", *TEXTS])
    assert same(found, embedder.similarity(vectors[0], vectors[1:])[0])
    np.testing.assert_allclose(found, vectors[1:] @ vectors[0], atol=1e-6)


def test_huggingface_hub_raises_for_a_wrong_request(hub_client: Any) -> None:
    errors = client_module("huggingface_hub.errors", "huggingface_hub")
    with pytest.raises(errors.HfHubHTTPError, match="no prompt is called poem, this model has: query"):
        hub_client.feature_extraction("the cat", prompt_name="poem")
