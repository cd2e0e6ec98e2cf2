"""What AWS Lambda passes to a handler, and what it expects back.

An event is a request itself, where the function is invoked directly; or an HTTP request with the request in its body:

    API Gateway, REST API (payload 1.0), load balancer   httpMethod, body, isBase64Encoded, requestContext
    API Gateway, HTTP API (payload 2.0), function URL    requestContext.http.method, body, isBase64Encoded

Source: AWS Lambda's developer guide, "Invoking a Lambda function using an Amazon API Gateway endpoint", "Creating and
managing Lambda function URLs" and "Process Application Load Balancer requests with Lambda".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from embedge.errors import InputTypeError, InputValueError
from embedge.function.answer import Model
from embedge.function.reply import JSON_HEADERS, reply_to, reply_to_http


def handle(model: Model, event: object) -> dict[str, Any]:
    """Answer an event of AWS Lambda.

    Returns:
        For an HTTP request, ``statusCode``, ``headers``, ``body`` and ``isBase64Encoded``. For a direct invocation the
        answer itself, or ``statusCode`` and ``error``.
    """
    if isinstance(event, Mapping) and isinstance(event.get("requestContext"), Mapping):
        reply = reply_to_http(model, _method(event), lambda: _body(event))
        body = {"body": reply.to_json(), "isBase64Encoded": False}
        return {"statusCode": int(reply.status), "headers": dict(JSON_HEADERS), **body}
    reply = reply_to(model, lambda: event)
    return reply.content if reply.status == 200 else {"statusCode": int(reply.status), **reply.content}


def _method(event: Mapping[str, Any]) -> str:
    """Return the HTTP method of an event; POST if it has none, as the messages of a WebSocket."""
    http = event["requestContext"].get("http")
    method = event.get("httpMethod") or (http.get("method") if isinstance(http, Mapping) else None)
    return str(method or "POST").upper()


def _body(event: Mapping[str, Any]) -> bytes:
    """Return the body of an event.

    Raises:
        InputTypeError: the body is not a string.
        InputValueError: it is not base64, though the event says so; or it is not valid Unicode.
    """
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise InputTypeError(f"the body must be a string, found {type(body).__name__}")
    try:
        return base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        what = "base64, though isBase64Encoded is true" if event.get("isBase64Encoded") else "valid Unicode"
        raise InputValueError(f"the body is not {what}; send a JSON object as UTF-8") from error
