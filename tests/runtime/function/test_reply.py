"""reply.py: the status of an error, and that no text reaches the log."""

import json
import logging

import pytest

from embedge import BundleCorruptError, Embedder, InputValueError
from embedge.function.reply import Reply, parse, reply_to, reply_to_http

SECRET = "my diagnosis"


def test_an_answer_has_the_status_200(tiny: Embedder) -> None:
    reply = reply_to(tiny, lambda: {"texts": ["the cat"]})
    assert reply.status == 200
    assert len(reply.content["vectors"][0]) == 32


def test_a_wrong_request_has_the_status_400_and_its_sentence(tiny: Embedder, caplog: pytest.LogCaptureFixture) -> None:
    assert reply_to(tiny, lambda: {"texts": [SECRET, 1]}) == Reply(400, {"error": "text 1 must be a string, found int"})
    assert not caplog.records


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, MemoryError, BundleCorruptError])
def test_what_is_unexpected_has_the_status_500_and_is_logged_without_texts(
    tiny: Embedder, caplog: pytest.LogCaptureFixture, kind: type[Exception]
) -> None:
    """The message of an error may quote a text, and so may that of its cause."""

    def fail() -> object:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise kind(f"cannot embed {SECRET}") from error

    with caplog.at_level(logging.DEBUG):
        reply = reply_to(tiny, fail)
    assert reply.status == 500
    assert reply.content == {"error": f"internal error, {kind.__name__}; the function's log has the traceback"}
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is None
    assert SECRET not in caplog.text
    shown = record.getMessage()
    assert shown.index("KeyError") < shown.index("then:")
    assert shown.count("in fail") == 2
    assert shown.rstrip().endswith(kind.__name__)


def test_a_get_describes_the_model(tiny: Embedder) -> None:
    for method in ("GET", "HEAD"):
        assert reply_to_http(tiny, method, bytes).content["dimension"] == 32
    assert reply_to_http(tiny, "POST", bytes).status == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty; send a JSON object"),
        (b" \n", "the body is empty"),
        (b"{", r"the body is not JSON \(Expecting property name .*\); send an object"),
        (b'{"texts": ["\xff"]}', r"not JSON \(UnicodeDecodeError\)"),
        (b"[" * 200_000, r"not JSON \(RecursionError\)"),
        (b"9" * 5000, r"not JSON \(ValueError\)"),
    ],
)
def test_what_is_no_json_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InputValueError, match=message):
        parse(body)


def test_json_is_ascii() -> None:
    """So that it survives whatever a proxy takes it for."""
    reply = Reply(400, {"error": "東 \u2028"})
    assert reply.to_json().isascii()
    assert json.loads(reply.to_json()) == reply.content
