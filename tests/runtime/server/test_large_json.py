"""Large bodies: parsed as json.loads does, with a limit on values, and without holding up the others."""

import json
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge.server.large_json import TooManyValuesError, parse_large
from running_server import Server, needs_server

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def outcome(parse: Any, text: str) -> Any:
    """What a parser returns, or what it raises, as text, in which NaN equals NaN."""
    try:
        return repr(parse(text))
    except json.JSONDecodeError:
        return "not JSON"
    except RecursionError:
        return "too deep"


def parse(text: str) -> Any:
    return parse_large(text, most=1_000_000)


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_it_parses_as_json_does(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert outcome(parse, text) == outcome(json.loads, text)


@given(VALUES, st.integers(0, 200), st.sampled_from('[]{},:"\\ 0a'))
def test_it_refuses_as_json_does(value: Any, at: int, mark: str) -> None:
    text = json.dumps(value)
    broken = text[:at] + mark + text[at + 1 :]
    assert outcome(parse, broken) == outcome(json.loads, broken)


@pytest.mark.parametrize(
    "text",
    ["", " ", "[", "{", "[1,]", '{"a"}', '{"a":1,}', "{a:1}", "[1 2]", "1 2", "nul", "[" * 100_000, " [1] ", "01"],
)
def test_broken_json_is_refused_as_json_does(text: str) -> None:
    assert outcome(parse, text) == outcome(json.loads, text)


def test_values_are_counted() -> None:
    assert parse_large('[1, {"a": []}]', most=4) == [1, {"a": []}]
    with pytest.raises(TooManyValuesError):
        parse_large('[1, {"a": []}]', most=3)


def body_of(element: bytes) -> bytes:
    """Almost 16 MiB of one list."""
    return b'{"inputs":[' + element * ((16 << 20) // len(element) - 10) + b"1]}"


@needs_server
@pytest.mark.parametrize("element", [b"1,", b"[],", b'{"a":1},', b"[[1,2,3],[4]],"])
def test_no_large_body_holds_up_the_others(server: Server, element: bytes) -> None:
    body, ends, slowest = body_of(element), threading.Event(), 0.0
    replies: list[Any] = []

    def post() -> None:
        replies.append(server.request("POST", "/v1/embeddings", body))
        ends.set()

    thread = threading.Thread(target=post)
    thread.start()
    while not ends.is_set():
        begin = time.perf_counter()
        assert server.get("/health").status == 200
        slowest = max(slowest, time.perf_counter() - begin)
    thread.join()
    assert replies[0].status == 400
    assert "too many JSON values" in replies[0].json["error"]["message"]
    assert slowest < 0.2  # json.loads takes 0.2 to 0.9 s on a fast machine


@needs_server
def test_large_bodies_with_few_values_pass(server: Server) -> None:
    texts = ["the cat", "東京 " * 20_000, "b" * 300_000]
    for ascii_only in (True, False):
        body = json.dumps({"inputs": texts, "truncate": True}, ensure_ascii=ascii_only).encode()
        reply = server.request("POST", "/embed", body)
        assert (reply.status, len(reply.json)) == (200, 3)
    assert server.request("POST", "/embed", b" " * 100_000).status == 422
    reply = server.request("POST", "/embed", b'{"inputs": "' + b"a" * 100_000)
    assert (reply.status, "the body is not JSON (Unterminated string" in reply.json["error"]) == (422, True)
