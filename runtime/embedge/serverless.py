"""The entries of serverless functions and containers. Importing this module loads the model.

    embedge.serverless.lambda_handler   the handler of AWS Lambda
    embedge.serverless.cloud_function   the function of Google Cloud (functions-framework)
    python -m embedge.serverless        an HTTP server on $PORT, for a container

The model is the bundle of ``$EMBEDGE_MODEL``, or of ``$LAMBDA_TASK_ROOT/bundle``. It is loaded at import, because every
platform starts a function by importing it, before the first request. ``docs/serverless.md`` describes requests and
answers.
"""

import os

# The process of a function is our own, so it may set what the library does not. When numpy is imported, its OpenBLAS
# starts a thread for each further core; this takes part of a cold start and is of no use here. onnxruntime_import turns
# off ONNX Runtime's telemetry, too, but a handler of the user's own may import onnxruntime before it. Both variables
# must be set before the imports.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from typing import Any, Protocol

from embedge.errors import EmbedgeError
from embedge.function.answer import Model
from embedge.function.event import handle
from embedge.function.load import load_model
from embedge.function.reply import JSON_HEADERS, reply_to_http

__all__ = ["cloud_function", "lambda_handler"]


def _load() -> Model:
    """Load the model. A container's log gets one line about a bundle that is not there, and no traceback."""
    try:
        return load_model()
    except EmbedgeError as error:
        if __name__ == "__main__":
            raise SystemExit(f"Error: {error}") from error
        raise


_MODEL = _load()


class _Request(Protocol):
    """What is used of a ``flask.Request``."""

    method: str

    def get_data(self) -> bytes: ...


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """Answer an event of AWS Lambda: a direct invocation, API Gateway, a function URL or a load balancer.

    Args:
        event: the request, or an HTTP request with the request in its body; see ``docs/serverless.md``.
        context: not used.

    Returns:
        For an HTTP request, its response: ``statusCode``, ``headers``, ``body`` and ``isBase64Encoded``. For a direct
        invocation the answer, or ``statusCode`` and ``error``. Errors in a request have the status 400, others 500.
    """
    return handle(_MODEL, event)


def cloud_function(request: _Request) -> tuple[str, int, dict[str, str]]:
    """Answer a request of functions-framework, which Google Cloud runs functions with.

    Args:
        request: a ``flask.Request``.

    Returns:
        The body, the status and the headers.
    """
    body = request.get_data()
    reply = reply_to_http(_MODEL, request.method, lambda: body)
    return reply.to_json(), int(reply.status), dict(JSON_HEADERS)


def main() -> None:
    """Serve HTTP on all addresses at ``$PORT``, 8080 if it is not set, until SIGTERM."""
    from embedge.function.server import serve

    port = os.environ.get("PORT") or "8080"
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise SystemExit(
            f"Error: PORT must be a number from 0 to 65535, found {port!r}; set it, or leave it out for 8080"
        )
    try:
        serve(_MODEL, host="0.0.0.0", port=int(port))
    except EmbedgeError as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
