"""From a route's function to an HTTP answer: read the body, run the function until the client goes away, write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from embedge.errors import BundleError, InputTypeError, InputValueError
from embedge.server.body import parse_object
from embedge.server.calls import Counted, TextOptions
from embedge.server.cancellation import until_disconnect
from embedge.server.fields import Fields
from embedge.server.request_error import SHARED, Kind, RequestError

if TYPE_CHECKING:
    from embedge.server.body import BodyReader
    from embedge.server.limits import Limits
    from embedge.server.metrics import Metrics
    from embedge.server.served import Models
    from embedge.server.timers import Timers

JSON = "application/json"
_ENCODER = json.JSONEncoder(separators=(",", ":"))  # json.dumps makes one for each call
TRUNCATED = "x-truncated-texts"  # the header that tells how many texts were truncated


@dataclass(frozen=True, slots=True)
class Serving:
    """What every route may use.

    Attributes:
        models: the models that are served.
        limits: what requests may take.
        bodies: reads bodies.
        metrics: what was served so far.
        timers: those of the event loop.
        auto_truncate: whether texts that are too long are truncated if the request does not say; None does what each
            API does.
    """

    models: Models
    limits: Limits
    bodies: BodyReader
    metrics: Metrics
    timers: Timers
    auto_truncate: bool | None = None

    def truncate(self, fields: Fields, default: bool) -> bool:
        """Return whether a request's texts may be truncated, by its field ``truncate``."""
        fallback = default if self.auto_truncate is None else self.auto_truncate
        return fields.flag("truncate", fallback)

    def cut(self, texts: Sequence[str]) -> tuple[list[str], list[int]]:
        """Return texts without what is beyond the limit on characters, and the positions of those that were cut."""
        most = self.limits.characters
        return [text[:most] for text in texts], [at for at, text in enumerate(texts) if len(text) > most]

    def text_options(self, texts: Sequence[str], *, prompt: str, truncate: bool) -> tuple[list[str], TextOptions]:
        """Return texts and options for a call."""
        kept, cut = self.cut(texts)
        return kept, TextOptions(prompt=prompt, truncate=truncate, cut=cut)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers.

    Attributes:
        content: JSON that is written already.
        texts: how many texts, or pairs, the request had.
        tokens: how many tokens the model read.
        truncated: how many texts were truncated.
    """

    content: str
    texts: int = 0
    tokens: int = 0
    truncated: int = 0


Function = Callable[[Serving, Fields], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Api:
    """How an API names its errors.

    Attributes:
        name: the API.
        write_error: returns the JSON object of an error and its status.
        statuses: statuses that differ from ``SHARED``.
    """

    name: str
    write_error: Callable[[RequestError, int], Mapping[str, Any]]
    statuses: Mapping[Kind, int] = field(default_factory=dict)

    def refuse(self, error: RequestError) -> Response:
        """Return the response of an error."""
        status = int(self.statuses.get(error.kind, SHARED[error.kind]))
        return Response(to_json(self.write_error(error, status)), status, error.headers(), JSON)


def to_json(content: Any) -> str:
    """Return JSON in ASCII, without blanks."""
    return _ENCODER.encode(content)


def post(serving: Serving, api: Api, function: Function) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a route that takes a JSON object."""

    async def endpoint(request: Request) -> Response:
        size = 0
        try:
            body = await serving.bodies.read(request)
            size = len(body)
            fields = Fields(await parse_object(body, serving.limits), serving.limits)
            del body
            work, seconds = function(serving, fields), serving.limits.request_seconds
            answer = await until_disconnect(request, work, seconds, serving.timers)
        except ClientDisconnect:
            serving.metrics.fail("disconnected")
            return Response(status_code=499)  # nobody reads it
        except RequestError as error:
            serving.metrics.fail(error.kind)
            return api.refuse(error)
        except (InputTypeError, InputValueError) as error:
            serving.metrics.fail("invalid")
            return api.refuse(RequestError(str(error)))
        finally:
            serving.bodies.forget(size)
        return _write(request, serving, answer)

    return endpoint


def _write(request: Request, serving: Serving, answer: Answer) -> Response:
    request.scope["state"].update(texts=answer.texts, tokens=answer.tokens)  # for the access log
    serving.metrics.succeed(answer.texts, answer.tokens)
    headers = {TRUNCATED: str(answer.truncated)} if answer.truncated else None
    return Response(answer.content, 200, headers, JSON)


def counted_answer(content: str, texts: int, counted: Counted[Any]) -> Answer:
    """Return an answer with the counts of a call."""
    return Answer(content, texts, counted.tokens, counted.truncated)


async def in_thread(write: Callable[[], str], size: int) -> str:
    """Write JSON; if it has many numbers and characters, in a thread, so that others are served meanwhile.

    ``write`` writes vector by vector and text by text: one call of ``json.dumps`` would hold up the others, too.
    """
    return write() if size < 16_384 else await asyncio.to_thread(write)


def texts_json(texts: Iterable[str]) -> str:
    """Return texts as a JSON list."""
    return f"[{','.join(map(to_json, texts))}]"


def lacking(error: BundleError, has_head: bool) -> Exception:
    """Return the error of a model without a head for what a route asks for; other errors as they are."""
    return error if has_head else RequestError(str(error))
