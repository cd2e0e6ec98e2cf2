"""event.py: requests in the events of API Gateway, function URLs and load balancers, and their responses."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from embedge import Embedder
from embedge.function.answer import answer
from embedge.function.event import handle
from lambda_events import http_api, load_balancer, rest_api

REQUEST = {"texts": ["the cat", "東京"], "truncate_dim": 8}
Make = Callable[..., dict[str, Any]]
every_event = pytest.mark.parametrize("make", [rest_api, http_api, load_balancer])


def test_a_direct_invocation_has_the_answer_itself(tiny: Embedder) -> None:
    assert handle(tiny, REQUEST) == answer(tiny, REQUEST)


def test_a_direct_invocations_error_has_a_status(tiny: Embedder) -> None:
    assert handle(tiny, {"texts": 1}) == {
        "statusCode": 400,
        "error": "texts must be a string or a list of strings, found int",
    }


@every_event
@pytest.mark.parametrize("encode", [False, True])
def test_an_http_request_has_an_http_response(tiny: Embedder, make: Make, encode: bool) -> None:
    response = handle(tiny, make(json.dumps(REQUEST, ensure_ascii=False), encode=encode))
    body = response.pop("body")
    assert response == {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "isBase64Encoded": False,
    }
    assert json.loads(body) == answer(tiny, REQUEST)


@every_event
def test_an_http_requests_error_has_the_sentence_in_its_body(tiny: Embedder, make: Make) -> None:
    response = handle(tiny, make("{}"))
    assert response["statusCode"] == 400
    assert json.loads(response["body"])["error"].startswith('a request to an embedder needs either "texts"')


@every_event
def test_a_get_describes_the_model(tiny: Embedder, make: Make) -> None:
    response = handle(tiny, {**make("", method="GET"), "body": None})
    assert (response["statusCode"], json.loads(response["body"])["task"]) == (200, "embed")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body": None}, "the body is empty"),
        ({"body": {"texts": []}}, "the body must be a string, found dict"),
        ({"body": "a", "isBase64Encoded": True}, "the body is not base64, though isBase64Encoded is true"),
        ({"body": "\ud800"}, "the body is not valid Unicode"),
        ({"requestContext": {}, "body": "{"}, "the body is not JSON"),  # a WebSocket's message has no method
        ({"requestContext": {"http": None}, "body": "{"}, "the body is not JSON"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(tiny: Embedder, change: dict[str, Any], message: str) -> None:
    response = handle(tiny, {**http_api("{}"), **change})
    assert response["statusCode"] == 400
    assert message in json.loads(response["body"])["error"]


def test_every_response_can_be_json(tiny: Embedder) -> None:
    """The runtime sends it as JSON: a numpy number or an enumeration would fail there."""
    for event in (REQUEST, http_api(json.dumps(REQUEST)), {"texts": 1}, rest_api("")):
        response = handle(tiny, event)
        assert json.loads(json.dumps(response)) == response
        assert type(response.get("statusCode", 0)) is int
