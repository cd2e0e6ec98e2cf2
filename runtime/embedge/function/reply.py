"""Answer a request with a status: 200, 400 with the error's sentence, or 500 with nothing but a logged traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from traceback import extract_tb, format_list
from typing import Any

from embedge.errors import InputTypeError, InputValueError
from embedge.function.answer import Model, answer, describe

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json"}
_log = logging.getLogger("embedge")


@dataclass(frozen=True, slots=True)
class Reply:
    """A status of HTTP and the content of a JSON object."""

    status: int
    content: dict[str, Any]

    def to_json(self) -> str:
        """Return the content as JSON in ASCII, without blanks."""
        return json.dumps(self.content, separators=(",", ":"))


def reply_to(model: Model, read: Callable[[], object]) -> Reply:
    """Answer the request that ``read`` returns. Every ``Exception`` becomes a reply.

    Nothing of a request is logged: an unexpected error's message may quote it, so the log has only the error's type and
    its traceback.
    """
    try:
        return Reply(HTTPStatus.OK, answer(model, read()))
    except (InputTypeError, InputValueError) as error:
        return Reply(HTTPStatus.BAD_REQUEST, {"error": str(error)})
    except Exception as error:
        _log.error("unexpected error; its message is left out, because it may quote a text\n%s", _trace(error))
        found = f"internal error, {type(error).__name__}; the function's log has the traceback"
        return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": found})


def reply_to_http(model: Model, method: str, read_body: Callable[[], bytes]) -> Reply:
    """Answer an HTTP request: GET and HEAD with a description of the model, any other method with ``reply_to``."""
    if method in ("GET", "HEAD"):
        return Reply(HTTPStatus.OK, describe(model))
    return reply_to(model, lambda: parse(read_body()))


def parse(body: bytes) -> object:
    r"""Return the JSON value of a request's body.

    >>> parse(b'{"query": "bread"}')
    {'query': 'bread'}

    Raises:
        InputValueError: it is empty, or is not JSON.
    """
    if not body.strip():
        raise InputValueError('the body is empty; send a JSON object, such as {"texts": ["..."]}')
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError also for what is not UTF-8, or a number of 5,000 digits
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise InputValueError(
            f'the body is not JSON ({reason}); send an object, such as {{"texts": ["..."]}}'
        ) from error


def _trace(error: BaseException) -> str:
    """Return the traceback of an error and of those that caused it, without their messages."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{_trace(earlier)}then:\n" if earlier else ""
    return f"{before}{''.join(format_list(extract_tb(error.__traceback__)))}{type(error).__name__}\n"
