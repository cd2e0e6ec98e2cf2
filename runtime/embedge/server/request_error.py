"""The errors of requests, and what status each API gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

from embedge.errors import EmbedgeError

Kind = Literal[
    "invalid", "empty", "too_many", "too_long", "too_large", "unauthorized", "forbidden", "not_found", "method", "slow",
    "timeout", "overloaded", "internal",
]  # fmt: skip
# What each API answers; the statuses that are the same everywhere are in SHARED. 499 is not sent: nobody reads it.
SHARED: Mapping[Kind, int] = {
    "invalid": HTTPStatus.BAD_REQUEST,
    "empty": HTTPStatus.BAD_REQUEST,
    "too_many": HTTPStatus.BAD_REQUEST,
    "too_long": HTTPStatus.BAD_REQUEST,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "method": HTTPStatus.METHOD_NOT_ALLOWED,
    "slow": HTTPStatus.REQUEST_TIMEOUT,
    "timeout": HTTPStatus.SERVICE_UNAVAILABLE,
    "overloaded": HTTPStatus.TOO_MANY_REQUESTS,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
}


class RequestError(EmbedgeError):
    """A request that is not answered with what it asked for.

    Attributes:
        message: one sentence for the client.
        kind: what went wrong; each API has a status for it.
        param: the field that is wrong, if one is.
        retry_after: seconds after which the client may try again.
    """

    def __init__(
        self, message: str, kind: Kind = "invalid", *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.param = param
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        """One sentence for the client, escaped."""
        return str(self)

    def headers(self) -> dict[str, str]:
        """Return the headers that go with the status.

        >>> RequestError("busy", "overloaded", retry_after=0.2).headers()
        {'retry-after': '1'}
        """
        if self.kind == "unauthorized":
            return {"www-authenticate": "Bearer"}
        # A client that sends too slowly, or more than it may, would go on: close the connection.
        closing = {"connection": "close"} if self.kind in ("slow", "too_large") else {}
        retry = {} if self.retry_after is None else {"retry-after": str(max(1, math.ceil(self.retry_after)))}
        return {**closing, **retry}
