"""The package ollama, in its default settings."""

import warnings
from typing import Any

import numpy as np
import pytest

from embedge import Embedder, __version__
from running_server import CLIENTS, Server, needs_server

pytestmark = [needs_server, pytest.mark.filterwarnings("ignore")]  # the client's own
TEXTS = ["the cat sat on the mat", "how do i bake bread ?"]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ollama: Any = pytest.importorskip("ollama", reason=f"needs ollama: pip install -r {CLIENTS}")


@pytest.fixture
def client(server: Server) -> Any:
    return ollama.Client(server.url)


def same(found: Any, expected: Any) -> bool:
    return np.array_equal(np.array(found, np.float32), expected)


@pytest.mark.parametrize("name", ["tiny", "tiny:latest"])
def test_ollama_embeds(client: Any, embedder: Embedder, name: str) -> None:
    answer = client.embed(name, TEXTS)
    assert same(answer.embeddings, embedder.encode(TEXTS))
    assert answer.prompt_eval_count == sum(embedder.count_tokens(TEXTS))
    assert answer.model == name
    assert answer.total_duration > 0
    assert same(client.embed(name, TEXTS[0]).embeddings, embedder.encode(TEXTS[:1]))


def test_ollama_embeds_with_the_older_route(client: Any, embedder: Embedder) -> None:
    assert same(client.embeddings("tiny", TEXTS[0]).embedding, embedder.encode(TEXTS[0]))


def test_ollama_truncates_unless_it_is_told_not_to(client: Any, embedder: Embedder) -> None:
    long = "the cat " * 100
    assert same(client.embed("tiny", long).embeddings[0], embedder.encode(long, on_truncate="ignore"))
    with pytest.raises(ollama.ResponseError, match="text 0 is longer than 64 tokens") as caught:
        client.embed("tiny", long, truncate=False)
    assert caught.value.status_code == 400


def test_ollama_chooses_dimensions(client: Any, embedder: Embedder) -> None:
    assert same(client.embed("tiny", TEXTS, dimensions=8).embeddings, embedder.encode(TEXTS, truncate_dim=8))


def test_ollama_lists_the_embedders(client: Any, server: Server) -> None:
    models = client.list().models
    assert [model.model for model in models] == ["tiny"]
    assert models[0].size > 1000
    assert models[0].details.quantization_level == "int8"
    assert client.show("tiny").modelinfo["bert.embedding_length"] == 32
    assert server.get("/api/version").json == {"version": __version__}


def test_ollama_is_told_which_models_there_are(client: Any) -> None:
    with pytest.raises(ollama.ResponseError, match="no embedder is called 'llama3'; this server has tiny") as caught:
        client.embed("llama3", "a")
    assert caught.value.status_code == 404
