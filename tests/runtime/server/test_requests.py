"""Requests without a client package: every route, fields, limits, and what wrong requests get."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, Reranker, __version__
from running_server import Server, needs_server, serving

pytestmark = needs_server
LONG = "the cat " * 100
# Each API's route, and a request that works; the second text is replaced below.
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/embeddings", {"model": "tiny", "input": ["the cat", "a dog"]}),
    "tei": ("/embed", {"inputs": ["the cat", "a dog"]}),
    "huggingface": ("/", {"inputs": ["the cat", "a dog"]}),
    "ollama": ("/api/embed", {"model": "tiny", "input": ["the cat", "a dog"]}),
    "cohere": ("/v2/embed", {"model": "tiny", "texts": ["the cat", "a dog"]}),
}
every_api = pytest.mark.parametrize("api", ROUTES)


def sentence(reply: Any) -> str:
    """The sentence of an error, as each API has it."""
    content = reply.json
    found = content.get("message") or content["error"]
    return found["message"] if isinstance(found, dict) else str(found)


def changed(api: str, value: object) -> tuple[str, dict[str, Any]]:
    """A request with another value for the texts."""
    path, body = ROUTES[api]
    return path, {**body, next(name for name in ("input", "inputs", "texts") if name in body): value}


@every_api
def test_no_route_adds_a_prompt_by_itself(server: Server, embedder: Embedder, api: str) -> None:
    path, body = ROUTES[api]
    content = server.post(path, body).json
    rows = content
    if api == "openai":
        rows = [row["embedding"] for row in content["data"]]
    elif api in ("ollama", "cohere"):
        rows = content["embeddings"] if api == "ollama" else content["embeddings"]["float"]
    assert embedder.prompts["query"]
    assert np.array_equal(np.array(rows, np.float32), embedder.encode(["the cat", "a dog"]))


@every_api
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "is missing; send a string or a list of strings"),
        (3, "must be a string or a list of strings, found 3"),
        ({"a": 1}, "must be a"),
        ([], "is an empty list"),
        ([101, 102], "has token ids"),
        ([[101, 102]], "has token ids"),
        (["a", None], "[1] must be a string, found None"),
        (["a", {"text": "b"}], "[1] must be a string"),
        (["\ud800"], "U+D800"),
        (["a"] * 2049, "has 2049 texts, and a request may have 2048"),
    ],
)
def test_wrong_texts_get_a_sentence(server: Server, api: str, value: object, message: str) -> None:
    if api == "huggingface" and isinstance(value, dict):
        message = "source_sentence is missing"
    path, body = changed(api, value)
    reply = server.post(path, body)
    assert reply.status in (400, 413, 422), reply
    assert message in sentence(reply)


@every_api
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"{", "the body is not JSON"),
        (b"[]", "the body must be a JSON object, found []"),
        (b"\xff\xfe", "the body is not JSON (UnicodeDecodeError)"),
        (b"[" * 100_000, "the body is not JSON (RecursionError)"),
        (b'{"a":' + b"9" * 5000 + b"}", "the body is not JSON (ValueError)"),
    ],
)
def test_what_is_no_json_object_gets_a_sentence(server: Server, api: str, body: bytes, message: str) -> None:
    reply = server.post(ROUTES[api][0], body)
    assert reply.status in (400, 422)
    assert message in sentence(reply)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/embeddings", {"input": "a", "encoding_format": "int4"}, "encoding_format must be one of float, base64"),
        ("/v1/embeddings", {"input": "a", "dimensions": "8"}, "dimensions must be a whole number, found '8'"),
        ("/v1/embeddings", {"input": "a", "dimensions": True}, "dimensions must be a whole number, found True"),
        ("/v1/embeddings", {"input": "a", "model": 3}, "model must be a string, found 3"),
        ("/embed", {"inputs": "a", "normalize": "yes"}, "normalize must be true or false, found 'yes'"),
        ("/embed", {"inputs": "a", "truncate": 1}, "truncate must be true or false, found 1"),
        ("/embed", {"inputs": "a", "prompt_name": "poem"}, "no prompt is called poem"),
        ("/embed", {"inputs": "a", "truncation_direction": "left"}, "truncates on the right"),
        ("/embed", {"inputs": "a", "dimensions": 0}, "dimensions must be between 1 and 32, found 0"),
        ("/rerank", {"texts": ["a"]}, "query is missing"),
        ("/rerank", {"query": "a", "texts": ["a", None]}, "texts[1] must be a string, found None"),
        ("/similarity", {"inputs": "a"}, "inputs must be an object, found 'a'"),
        ("/similarity", {"inputs": {"source_sentence": "a"}}, "sentences is missing"),
        ("/tokenize", {"inputs": "a" * 70_000}, "inputs[0] has 70000 characters; send at most 65536"),
        ("/tokenize", {"inputs": "\ud800"}, "a lone surrogate, U+D800"),
        ("/embed_sparse", {"inputs": "a"}, "has no lexical weights"),
        ("/embed_all", {"inputs": "a"}, "has no multi-vectors"),
        ("/api/embed", {"input": "a"}, "model is missing"),
        ("/v2/embed", {"texts": ["a"], "input_type": "poem"}, "input_type must be one of search_query"),
        ("/v2/embed", {"texts": ["a"], "images": ["a"]}, "this server embeds texts only, found images"),
        ("/v2/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "top_n must be at least 1"),
    ],
)
def test_wrong_options_get_a_sentence(server: Server, path: str, body: dict[str, Any], message: str) -> None:
    reply = server.post(path, body)
    assert reply.status in (400, 413, 422), reply
    assert message in sentence(reply)


@every_api
def test_a_request_says_whether_texts_that_are_too_long_are_truncated(server: Server, api: str) -> None:
    path, body = changed(api, ["a", LONG])
    no, yes = ("NONE", "END") if api == "cohere" else (False, True)
    reply = server.post(path, {**body, "truncate": no})
    assert reply.status == (413 if api in ("tei", "huggingface") else 400)
    assert "text 1 is longer than 64 tokens" in sentence(reply)
    reply = server.post(path, {**body, "truncate": yes})
    assert (reply.status, reply.headers["x-truncated-texts"]) == (200, "1")


@every_api
def test_without_a_word_each_api_does_what_its_documentation_says(server: Server, api: str) -> None:
    """OpenAI refuses; text-embeddings-inference truncates since 1.9, and Ollama and Cohere do."""
    reply = server.post(*changed(api, ["a", LONG]))
    assert (reply.status, reply.headers.get("x-truncated-texts")) == ((400, None) if api == "openai" else (200, "1"))


@pytest.mark.parametrize("option", ["--auto-truncate", "--no-auto-truncate"])
def test_an_option_changes_the_default(tiny_bundle: Bundle, tmp_path: Path, option: str) -> None:
    status = {"--auto-truncate": 200, "--no-auto-truncate": 400}[option]
    with serving([tiny_bundle.path, option], tmp_path / "log") as server:
        assert server.get("/info").json["auto_truncate"] == (status == 200)
        for api in ("openai", "tei", "ollama"):
            found = server.post(*changed(api, LONG)).status
            assert (200 if found == 200 else 400) == status
        assert server.post(*changed("cohere", [LONG])).status == 200


def test_the_reranker_scores_like_the_model(server: Server, reranker: Reranker) -> None:
    texts = ["Yeast makes dough rise.", "The bike has a flat tyre.", "Bread is baked."]
    found = server.post("/rerank", {"query": "bread", "texts": texts, "raw_scores": True, "return_text": True}).json
    expected = reranker.rank("bread", texts)
    assert [(one["index"], np.float32(one["score"])) for one in found] == [(i, np.float32(s)) for i, s in expected]
    assert [one["text"] for one in found] == [texts[index] for index, _ in expected]
    found = server.post("/v1/rerank", {"query": "bread", "documents": [{"text": text} for text in texts], "top_n": 1})
    assert found.json["results"][0]["index"] == expected[0][0]


def test_tokens_are_those_of_the_file(server: Server, tiny_bundle: Bundle) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_bundle.path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    text = "The cat eats 東, naïve"
    found = server.post("/tokenize", {"inputs": [text], "model": "tiny"}).json[0]
    expected = tokenizer.encode(text)
    assert [one["id"] for one in found] == expected.ids
    assert [one["text"] for one in found] == expected.tokens
    assert [(one["start"], one["stop"]) for one in found] == expected.offsets
    assert [one["special"] for one in found] == [True, *[False] * (len(found) - 2), True]
    plain = server.post("/tokenize", {"inputs": text, "add_special_tokens": False}).json[0]
    assert [one["id"] for one in plain] == expected.ids[1:-1]


def test_what_is_served_is_described(server: Server) -> None:
    content = server.get("/info").json
    assert (content["model_id"], content["max_input_length"], content["model_dtype"]) == ("tiny", 64, "int8")
    assert content["version"] == __version__
    assert [model["model_id"] for model in content["models"]] == ["tiny", "tiny-reranker"]
    for path in ("/health", "/ping"):
        assert (server.get(path).status, server.request("HEAD", path).status) == (200, 200)


def test_metrics_count_requests_and_failures(server: Server) -> None:
    def read() -> dict[str, float]:
        lines = [line for line in server.get("/metrics").body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    before = read()
    server.post("/embed", {"inputs": ["the cat", "a dog"]})
    server.post("/embed", {"inputs": 3})
    server.get("/nowhere/" + "x" * 50)
    after = read()

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more('te_request_count{route="/embed"}') == 2
    assert more('te_request_count{route="other"}') == 1
    assert more('te_request_failure{err="invalid"}') == 1
    assert more("embedge_texts_total") == 2
    assert more("embedge_tokens_total") == 8
    assert more("te_request_duration_count") == 4
    assert (more("te_batch_next_size_sum"), more("te_batch_next_tokens_sum")) == (2, 8)
    assert after['te_batch_next_size_bucket{le="4096"}'] == after["te_batch_next_size_count"] > 0
    assert after["embedge_restarts_total"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v2/nothing", 404, "no such route"),
        ("GET", "/v1/models/gpt", 404, "no model is called 'gpt'"),
        ("POST", "/../etc/passwd", 404, "no such route"),
        ("GET", "/embed", 405, "this route takes POST"),
        ("DELETE", "/", 405, "this route takes POST and GET"),
        ("BREW", "/health", 405, "this route takes GET"),
    ],
)
def test_other_paths_and_methods_get_a_sentence(
    server: Server, method: str, path: str, status: int, message: str
) -> None:
    reply = server.request(method, path)
    assert reply.status == status
    assert message in sentence(reply)


def test_null_is_as_good_as_nothing(server: Server) -> None:
    body = {"input": "a", "model": None, "dimensions": None, "encoding_format": None, "user": None}
    assert server.post("/v1/embeddings", body).status == 200


def test_floats_are_written_so_that_a_float32_comes_back(server: Server, embedder: Embedder) -> None:
    text = server.post("/embed", {"inputs": "the cat", "normalize": False}).body.decode()
    expected = embedder.encode(["the cat"], normalize=False)
    assert np.array_equal(np.array(json.loads(text), np.float32), expected)
    assert max(len(number) for number in text.strip("[]").split(",")) <= 16
