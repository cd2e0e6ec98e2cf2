"""The table of routes, and the ASGI application that finds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from embedge.server import cohere, ollama, openai, tei
from embedge.server.endpoint import JSON, Api, Serving, post
from embedge.server.gate import Gate, Receive, Scope, Send
from embedge.server.metrics import CONTENT_TYPE
from embedge.server.page import page_response
from embedge.server.request_error import RequestError

if TYPE_CHECKING:
    from embedge.server.endpoint import Function
    from embedge.server.keys import Keys
    from embedge.server.origin import Origins

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, and what answers.

    Attributes:
        method: GET or POST.
        path: the path.
        api: whose errors the route has.
        about: what it does, for people.
        function: answers a POST request.
        content: returns what a GET request gets, with its type.
    """

    method: str
    path: str
    api: Api
    about: str
    function: Function | None = None
    content: Callable[[Serving], tuple[str, str]] | None = None


def _json(write: Callable[[Serving], str]) -> Callable[[Serving], tuple[str, str]]:
    return lambda serving: (write(serving), JSON)


def _empty(serving: Serving) -> str:
    return "{}"


ROUTES = (
    Route("POST", "/v1/embeddings", openai.API, "OpenAI: embeddings", openai.embeddings),
    Route("GET", "/v1/models", openai.API, "OpenAI: the models", content=_json(openai.list_models)),
    Route("POST", "/embed", tei.API, "TEI: vectors", tei.embed_inputs),
    Route("POST", "/rerank", tei.API, "TEI: scores of texts for a query, best first", tei.rerank),
    Route("POST", "/similarity", tei.API, "TEI: similarity of a sentence to others", tei.similarity),
    Route("POST", "/embed_sparse", tei.API, "TEI: lexical weights", tei.sparse),
    Route("POST", "/embed_all", tei.API, "TEI: a vector for each token", tei.embed_all),
    Route("POST", "/tokenize", tei.API, "TEI: tokens", tei.tokenize),
    Route("POST", "/", tei.API, "Hugging Face: vectors, similarity or scores", tei.root),
    Route("GET", "/info", tei.API, "TEI: the models and limits", content=_json(tei.info)),
    Route("POST", "/api/embed", ollama.API, "Ollama: vectors", ollama.embed_input),
    Route("POST", "/api/embeddings", ollama.API, "Ollama, older: one vector", ollama.embed_prompt),
    Route("POST", "/api/show", ollama.API, "Ollama: one model", ollama.show),
    Route("GET", "/api/tags", ollama.API, "Ollama: the models", content=_json(ollama.tags)),
    Route("GET", "/api/version", ollama.API, "Ollama: the version", content=_json(ollama.version)),
    Route("POST", "/v2/embed", cohere.API, "Cohere: vectors", cohere.embed_texts),
    Route("POST", "/v2/rerank", cohere.API, "Cohere: documents, best first", cohere.rerank),
    Route("POST", "/v1/rerank", cohere.API, "Jina and others: documents, best first", cohere.rerank),
    Route("GET", "/health", tei.API, "200 if the server answers", content=_json(_empty)),
    Route("GET", "/ping", tei.API, "the same", content=_json(_empty)),
    Route("GET", "/metrics", tei.API, "Prometheus", content=lambda serving: (serving.metrics.text(), CONTENT_TYPE)),
)
_PATHS = frozenset({route.path for route in ROUTES})


def make_app(serving: Serving, keys: Keys, origins: Origins, *, access_log: bool) -> Gate:
    """Return the ASGI application of a server."""
    endpoints = {(route.method, route.path): _endpoint(serving, route) for route in ROUTES}
    endpoints["GET", "/"] = page_response

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = endpoints.get((method, scope["path"])) or _other(serving, endpoints, method, scope["path"])
        response = await endpoint(request)
        await response(scope, receive, send)

    return Gate(
        app,
        keys=keys,
        origins=origins,
        metrics=serving.metrics,
        route_of=lambda path: path if path in _PATHS else "other",
        refuse=lambda path, error: _api_of(path).refuse(error),
        access_log=access_log,
    )


def _endpoint(serving: Serving, route: Route) -> Endpoint:
    if route.function is not None:
        return post(serving, route.api, route.function)
    content = route.content
    assert content is not None

    async def endpoint(request: Request) -> Response:
        text, kind = content(serving)
        serving.metrics.succeed(0, 0)
        return Response(text, media_type=kind)

    return endpoint


def _other(serving: Serving, endpoints: Mapping[tuple[str, str], Endpoint], method: str, path: str) -> Endpoint:
    """Return the endpoint of one model, or of a path or method that does not exist."""

    async def endpoint(request: Request) -> Response:
        if method == "GET" and path.startswith("/v1/models/"):
            try:
                text = openai.one_model(serving, path.removeprefix("/v1/models/"))
            except RequestError as error:
                return refuse(error)
            serving.metrics.succeed(0, 0)
            return Response(text, media_type=JSON)
        allowed = [known for known, one in endpoints if one == path]
        if allowed:
            return refuse(RequestError(f"this route takes {' and '.join(allowed)}; GET / has a list", "method"))
        return refuse(RequestError("no such route; GET / has a list", "not_found"))

    def refuse(error: RequestError) -> Response:
        serving.metrics.fail(error.kind)
        return _api_of(path).refuse(error)

    return endpoint


def _api_of(path: str) -> Api:
    """Return whose errors a path has; TEI's where nothing else fits."""
    for prefix, api in (("/v1/rerank", cohere.API), ("/v1/", openai.API), ("/api/", ollama.API), ("/v2/", cohere.API)):
        if path.startswith(prefix):
            return api
    return tei.API
