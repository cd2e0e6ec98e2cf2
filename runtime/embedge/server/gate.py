"""What every request passes: its host and origin, the API key, the counts, the access log, and unexpected errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from traceback import extract_tb, format_list
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from embedge.progress import tell
from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    from embedge.server.keys import Keys
    from embedge.server.metrics import Metrics
    from embedge.server.origin import Origins

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_log = logging.getLogger("embedge")
# Health checks come from machines that have no key. The page has nothing of the server's: its script asks for the rest.
_OPEN = ("/", "/health", "/ping")


class Gate:
    """An ASGI application around another one.

    Args:
        app: the routes.
        keys: the API keys.
        origins: which hosts and web pages may ask.
        metrics: counts requests.
        route_of: returns the name of the route of a path, for the counts.
        refuse: returns the response of an error, as the API of a path writes it.
        access_log: whether to write a line for each request on stderr.
    """

    def __init__(
        self,
        app: App,
        *,
        keys: Keys,
        origins: Origins,
        metrics: Metrics,
        route_of: Callable[[str], str],
        refuse: Callable[[str, RequestError], Response],
        access_log: bool,
    ) -> None:
        self._app = app
        self._keys = keys
        self._origins = origins
        self._metrics = metrics
        self._route_of = route_of
        self._refuse = refuse
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begin, status = time.perf_counter(), 0
        scope["state"] = {"texts": 0, "tokens": 0}
        self._metrics.begin(self._route_of(scope["path"]))

        async def send_and_note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._origins.headers_for(scope["headers"])]
            await send(message)

        try:
            if refusal := self._origins.refuse(scope["headers"]):
                await self._fail(refusal, scope, receive, send_and_note)
            elif scope["method"] == "OPTIONS" and (headers := self._origins.preflight(scope["headers"])):
                self._metrics.succeed(0, 0)
                await Response(status_code=204, headers=headers)(scope, receive, send_and_note)
            elif self._has_key(scope):
                await self._app(scope, receive, send_and_note)
            else:
                error = RequestError("no valid API key; send the header Authorization: Bearer KEY", "unauthorized")
                await self._fail(error, scope, receive, send_and_note)
        except Exception as error:
            _log.error("unexpected error; its message is left out, because it may quote a text\n%s", _trace(error))
            if status:
                raise
            found = f"internal error, {type(error).__name__}; the server's log has the traceback"
            await self._fail(RequestError(found, "internal"), scope, receive, send_and_note)
        finally:
            seconds = time.perf_counter() - begin
            self._metrics.end(seconds)
            if self._access_log:
                _write_line(scope, status, seconds)

    def _has_key(self, scope: Scope) -> bool:
        if not self._keys or (scope["path"] in _OPEN and scope["method"] in ("GET", "HEAD")):
            return True
        headers = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(headers) == 1 and self._keys.accept(headers[0])

    async def _fail(self, error: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
        self._metrics.fail(error.kind)
        await self._refuse(scope["path"], error)(scope, receive, send)


def _write_line(scope: Scope, status: int, seconds: float) -> None:
    """Write when, what and how long; never a text, nor the query of the URL, which may have one."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    path = scope["path"].encode("unicode_escape").decode()[:200]
    state = scope["state"]
    counts = f"texts={state['texts']} tokens={state['tokens']}"
    tell(f"{now} {scope['method']} {path} {status} {seconds * 1000:.1f}ms {counts}")


def _trace(error: Exception) -> str:
    return "".join(format_list(extract_tb(error.__traceback__))) + type(error).__name__
