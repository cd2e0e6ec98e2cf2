"""The packages openai, langchain-openai and llama-index's OpenAI-like class, in their default settings."""

import base64
import warnings
from typing import Any

import numpy as np
import pytest

from embedge import Embedder
from running_server import CLIENTS, Server, needs_server

pytestmark = [needs_server, pytest.mark.filterwarnings("ignore")]  # the clients' own
TEXTS = ["the cat sat on the mat", "how do i bake bread ?", "", "東 京"]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    openai: Any = pytest.importorskip("openai", reason=f"needs openai: pip install -r {CLIENTS}")


@pytest.fixture
def client(server: Server) -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def same(found: Any, expected: Any) -> bool:
    """Whether vectors are those that the model gives, bit for bit."""
    return np.array_equal(np.array(found, np.float32), expected)


def test_openai_embeds_by_default(client: Any, embedder: Embedder) -> None:
    answer = client.embeddings.create(model=embedder.bundle.manifest.model, input=TEXTS)
    assert same([one.embedding for one in answer.data], embedder.encode(TEXTS))
    assert [one.index for one in answer.data] == [0, 1, 2, 3]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(embedder.count_tokens(TEXTS))
    assert answer.model == embedder.bundle.manifest.model


def test_openai_asks_for_base64_which_is_little_endian_float32(server: Server, embedder: Embedder) -> None:
    answer = server.post("/v1/embeddings", {"input": TEXTS[0], "model": "tiny", "encoding_format": "base64"}).json
    found = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), "<f4")
    assert same(found, embedder.encode(TEXTS[0]))


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openai_chooses_dimensions(client: Any, embedder: Embedder, encoding: str) -> None:
    answer = client.embeddings.create(
        model="tiny", input=TEXTS[0], dimensions=8, encoding_format=encoding, user="somebody"
    )
    found = answer.data[0].embedding
    found = np.frombuffer(base64.b64decode(found), "<f4") if isinstance(found, str) else found
    assert same(found, embedder.encode(TEXTS[0], truncate_dim=8))


def test_openai_lists_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "tiny-reranker"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_openai_gets_its_own_errors(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "this server has tiny (embedder)" in caught.value.message
    with pytest.raises(openai.BadRequestError, match="dimensions must be between 1 and 32, found 64"):
        client.embeddings.create(model="tiny", input="a", dimensions=64)
    with pytest.raises(openai.BadRequestError, match="text 0 is longer than 64 tokens") as caught:
        client.embeddings.create(model="tiny", input="the cat " * 100)
    assert caught.value.code == "context_length_exceeded"


def test_openai_may_ask_for_truncation(client: Any, embedder: Embedder) -> None:
    long = "the cat " * 100
    answer = client.embeddings.with_raw_response.create(model="tiny", input=long, extra_body={"truncate": True})
    assert answer.headers["x-truncated-texts"] == "1"
    assert same(answer.parse().data[0].embedding, embedder.encode(long, on_truncate="ignore"))


@pytest.fixture
def token_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiktoken without its download: bytes as ids. LangChain's class only sends what it gets from there."""
    tiktoken: Any = pytest.importorskip("tiktoken", reason=f"needs langchain-openai: pip install -r {CLIENTS}")
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=r".", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda name: encoding)
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: encoding)


@pytest.mark.usefixtures("token_ids")
def test_langchain_is_told_not_to_send_token_ids(server: Server, embedder: Embedder) -> None:
    package: Any = pytest.importorskip("langchain_openai", reason=f"needs langchain-openai: pip install -r {CLIENTS}")
    options = {"base_url": f"{server.url}/v1", "api_key": "none", "model": "tiny"}
    with pytest.raises(openai.BadRequestError, match="token ids.*pass check_embedding_ctx_length=False"):
        package.OpenAIEmbeddings(**options).embed_query("the cat")
    model = package.OpenAIEmbeddings(**options, check_embedding_ctx_length=False)
    assert same(model.embed_documents(TEXTS), embedder.encode(TEXTS))
    assert same(model.embed_query(TEXTS[1]), embedder.encode(TEXTS[1]))


def test_llama_index_embeds_with_its_openai_like_class(server: Server, embedder: Embedder) -> None:
    module: Any = pytest.importorskip(
        "llama_index.embeddings.openai_like",
        reason=f"needs llama-index-embeddings-openai-like: pip install -r {CLIENTS}",
    )
    model = module.OpenAILikeEmbedding(model_name="tiny", api_base=f"{server.url}/v1")
    assert same(model.get_text_embedding_batch(["a cat", "a dog"]), embedder.encode(["a cat", "a dog"]))
    assert same(model.get_query_embedding("a cat"), embedder.encode("a cat"))
