"""The package cohere, version 2 of its API, in its default settings."""

import base64
import warnings
from typing import Any

import numpy as np
import pytest

from embedge import Embedder, Reranker
from running_server import CLIENTS, Server, needs_server

pytestmark = [needs_server, pytest.mark.filterwarnings("ignore")]  # the client's own
TEXTS = ["the cat sat on the mat", "how do i bake bread ?", "東 京"]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    cohere: Any = pytest.importorskip("cohere", reason=f"needs cohere: pip install -r {CLIENTS}")


@pytest.fixture
def client(server: Server) -> Any:
    return cohere.ClientV2(api_key="none", base_url=server.url)


def same(found: Any, expected: Any) -> bool:
    return np.array_equal(np.array(found, np.float32), expected)


def test_cohere_embeds_documents_and_queries(client: Any, embedder: Embedder) -> None:
    answer = client.embed(model="tiny", input_type="search_document", texts=TEXTS)
    assert same(answer.embeddings.float_, embedder.encode_document(TEXTS))
    assert answer.texts == TEXTS
    assert answer.meta.billed_units.input_tokens == sum(embedder.count_tokens(TEXTS))
    answer = client.embed(model="tiny", input_type="search_query", texts=TEXTS)
    assert same(answer.embeddings.float_, embedder.encode_query(TEXTS))
    answer = client.embed(model="tiny", input_type="clustering", texts=TEXTS)
    assert same(answer.embeddings.float_, embedder.encode(TEXTS))


def test_cohere_gets_several_types(client: Any, embedder: Embedder) -> None:
    types = ["float", "base64", "binary", "ubinary"]
    answer = client.embed(
        model="tiny", input_type="clustering", texts=TEXTS, embedding_types=types, output_dimension=16
    )
    expected = embedder.encode(TEXTS, truncate_dim=16)
    assert same(answer.embeddings.float_, expected)
    assert same([np.frombuffer(base64.b64decode(row), "<f4") for row in answer.embeddings.base64], expected)
    assert np.array_equal(answer.embeddings.binary, embedder.encode(TEXTS, truncate_dim=16, precision="binary"))
    assert np.array_equal(answer.embeddings.ubinary, embedder.encode(TEXTS, truncate_dim=16, precision="ubinary"))


def test_cohere_gets_no_types_that_depend_on_other_texts(client: Any) -> None:
    with pytest.raises(cohere.BadRequestError, match="embedding_types must be a list of float, base64, binary"):
        client.embed(model="tiny", input_type="clustering", texts=TEXTS, embedding_types=["int8"])


def test_cohere_is_told_what_was_truncated(client: Any, embedder: Embedder) -> None:
    long = "the cat " * 100
    answer = client.embed(model="tiny", input_type="clustering", texts=[long, "a"])
    assert same(answer.embeddings.float_[0], embedder.encode(long, on_truncate="ignore"))
    assert answer.meta.warnings == ["1 texts were truncated"]
    with pytest.raises(cohere.BadRequestError, match="text 0 is longer than 64 tokens"):
        client.embed(model="tiny", input_type="clustering", texts=[long, "a"], truncate="NONE")
    with pytest.raises(cohere.BadRequestError, match="truncates on the right"):
        client.embed(model="tiny", input_type="clustering", texts=[long, "a"], truncate="START")


def test_cohere_reranks(client: Any, reranker: Reranker) -> None:
    for options in ({}, {"top_n": 2}):
        answer = client.rerank(model="tiny-reranker", query=TEXTS[1], documents=TEXTS, **options)
        expected = reranker.rank(TEXTS[1], TEXTS, normalize=True, top_k=options.get("top_n"))
        found = [(one.index, np.float32(one.relevance_score)) for one in answer.results]
        assert found == [(index, np.float32(score)) for index, score in expected]


def test_cohere_is_told_which_models_there_are(client: Any) -> None:
    with pytest.raises(cohere.NotFoundError, match="no reranker is called 'rerank-v3.5'"):
        client.rerank(model="rerank-v3.5", query="a", documents=TEXTS)
