"""Read a request's body within the limits, and as a JSON object."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from embedge.errors import short
from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request

    from embedge.server.limits import Limits


class BodyReader:
    """Reads bodies, and counts how many bytes of them are in memory.

    Args:
        limits: those of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read a whole body; its bytes count as held until the context ends.

        Raises:
            RequestError: it is too large, arrives too slowly, or all bodies together are too large.
            ClientDisconnect: the client went away.
        """
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdecimal() and (len(declared) > 15 or int(declared) > self._most):
            raise self._too_large(short(declared, write=str))  # before a byte of it is read
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.receive_seconds):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._held += len(chunk)
                    if size > self._most:
                        raise self._too_large(f"more than {self._most}")
                    if self._held > self._limits.all_body_bytes:
                        raise RequestError(
                            f"the bodies of all requests together have more than {self._limits.all_body_bytes} bytes; "
                            "try again later",
                            "overloaded",
                            retry_after=1,
                        )
                    chunks.append(chunk)
            yield b"".join(chunks)
        except TimeoutError as error:
            raise RequestError(
                f"the body did not arrive within {self._limits.receive_seconds:g} s; send it faster", "slow"
            ) from error
        finally:
            self._held -= size

    @property
    def _most(self) -> int:
        return self._limits.body_bytes

    def _too_large(self, found: str) -> RequestError:
        return RequestError(
            f"the body has {found} bytes, and at most {self._most} are allowed; send fewer texts at a time, or start "
            "the server with a larger --max-body-bytes",
            "too_large",
        )


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; members that are null are left out, as if the client had not sent them.

    Raises:
        RequestError: it is not a JSON object.
    """
    if not body.strip():
        raise RequestError("the body is empty; send a JSON object")
    try:
        value = json.loads(body.decode())  # of bytes, json would also take UTF-16, which RFC 8259 does not allow
    except (ValueError, RecursionError) as error:  # ValueError also for what is not UTF-8, or a number of 5,000 digits
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise RequestError(f"the body is not JSON ({reason}); send a JSON object as UTF-8") from error
    if not isinstance(value, dict):
        raise RequestError(f"the body must be a JSON object, found {short(value)}")
    return {name: member for name, member in value.items() if member is not None}
