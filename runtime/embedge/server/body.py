"""Read a request's body within the limits, and as a JSON object."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from embedge.errors import short
from embedge.server.cancellation import Cancellation
from embedge.server.large_json import TooManyValuesError, parse_large
from embedge.server.plain_request import WHOLE_BODY
from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request

    from embedge.server.limits import Limits
    from embedge.server.timers import Timers

# Bytes of a body that is parsed in the event loop: 30 us for texts, 4 ms for the worst JSON. A thread would add 0.1 ms.
_SMALL = 64 << 10
_VALUES, _VALUES_OF_TEXT = 1024, 8  # JSON values of a larger body: so many, and so many for each text


class BodyReader:
    """Reads bodies, and counts how many bytes of them are in memory.

    Args:
        limits: those of the server.
        timers: those of the event loop.
    """

    def __init__(self, limits: Limits, timers: Timers) -> None:
        self._limits = limits
        self._timers = timers
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """Read a whole body; its bytes count as held until ``forget``.

        Raises:
            RequestError: it is too large, arrives too slowly, or all bodies together are too large.
            ClientDisconnect: the client went away.
        """
        if WHOLE_BODY in (request.scope.get("extensions") or ()):
            body, _ = await _next_chunk(request)
            if len(body) > self._most:
                raise self._too_large(str(len(body)))
            self._hold(body, len(body))
            return body
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdecimal() and (len(declared) > 15 or int(declared) > self._most):
            raise self._too_large(short(declared, write=str))  # before a byte of it is read
        with Cancellation() as cancellation:
            timer = self._timers.call_later(self._limits.receive_seconds, lambda: cancellation.cancel(self._too_slow()))
            try:
                return await self._read_chunks(request)
            finally:
                timer.cancel()

    async def _read_chunks(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        size, is_more = 0, True
        try:
            while is_more:
                chunk, is_more = await _next_chunk(request)
                self._hold(chunk, size + len(chunk))
                size += len(chunk)
                chunks.append(chunk)
        except BaseException:
            self.forget(size)
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def forget(self, size: int) -> None:
        """Count so many bytes no longer."""
        self._held -= size

    def _hold(self, chunk: bytes, size: int) -> None:
        """Count a part of a body, which has ``size`` bytes with it; raise RequestError if that is too many."""
        if size > self._most:
            raise self._too_large(f"more than {self._most}")
        if self._held + len(chunk) > self._limits.all_body_bytes:
            raise RequestError(
                f"the bodies of all requests together have more than {self._limits.all_body_bytes} bytes; "
                "try again later",
                "overloaded",
                retry_after=1,
            )
        self._held += len(chunk)

    @property
    def _most(self) -> int:
        return self._limits.body_bytes

    def _too_slow(self) -> RequestError:
        seconds = self._limits.receive_seconds
        return RequestError(f"the body did not arrive within {seconds:g} s; send it faster", "slow")

    def _too_large(self, found: str) -> RequestError:
        return RequestError(
            f"the body has {found} bytes, and at most {self._most} are allowed; send fewer texts at a time, or start "
            "the server with a larger --max-body-bytes",
            "too_large",
        )


async def _next_chunk(request: Request) -> tuple[bytes, bool]:
    """Return what arrived next, and whether there is more."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message["body"], message["more_body"]


async def parse_object(body: bytes, limits: Limits) -> dict[str, Any]:
    """Return the JSON object of a body; members that are null are left out, as if the client had not sent them.

    Raises:
        RequestError: it is not a JSON object, or a large one has far more values than texts are allowed.
    """
    if len(body) <= _SMALL:
        value = _parse(body, json.loads)
    else:
        # A text of /v2/rerank may be an object with some members.
        most = _VALUES + _VALUES_OF_TEXT * limits.texts
        value = await asyncio.to_thread(_parse, body, partial(parse_large, most=most))
    if not isinstance(value, dict):
        raise RequestError(f"the body must be a JSON object, found {short(value)}")
    return {name: member for name, member in value.items() if member is not None}


def _parse(body: bytes, load: Callable[[str], Any]) -> Any:
    if not body.strip():
        raise RequestError("the body is empty; send a JSON object")
    try:
        return load(body.decode())  # of bytes, json would also take UTF-16, which RFC 8259 does not allow
    except TooManyValuesError:
        raise RequestError(
            "the body has too many JSON values; send fewer texts at a time, and if these are token ids, send strings "
            "(with LangChain's OpenAIEmbeddings, pass check_embedding_ctx_length=False)",
            "too_many",
        ) from None
    except (ValueError, RecursionError) as error:  # ValueError also for what is not UTF-8, or a number of 5,000 digits
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise RequestError(f"the body is not JSON ({reason}); send a JSON object as UTF-8") from error
