"""OpenAI's API: ``POST /v1/embeddings`` and ``GET /v1/models``.

Source: OpenAI's API reference, "Create embeddings", "List models" and "Error codes", and what the package ``openai``
sends. Base64 is the little-endian float32 of a vector; the package asks for it unless it is told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embedge.server.calls import embed
from embedge.server.endpoint import Answer, Api, Serving, counted_answer, in_thread, to_json
from embedge.server.fields import Fields
from embedge.server.numbers import vector_base64, vector_json
from embedge.server.request_error import Kind, RequestError

if TYPE_CHECKING:
    from embedge.server.served import Named

_CODES: Mapping[Kind, str] = {
    "not_found": "model_not_found",
    "unauthorized": "invalid_api_key",
    "too_long": "context_length_exceeded",
    "overloaded": "rate_limit_exceeded",
}
# LangChain's class sends the ids of OpenAI's tokenizer unless it is told not to.
_IDS = "send strings (with LangChain's OpenAIEmbeddings, pass check_embedding_ctx_length=False)"


def _write_error(error: RequestError, status: int) -> Mapping[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    kind = "rate_limit_error" if error.kind == "overloaded" else kind
    code = _CODES.get(error.kind)
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}}


API = Api("openai", _write_error)


async def embeddings(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /v1/embeddings``. A text that is too long is an error, as in OpenAI's API, without ``truncate``."""
    named = serving.models.embedder(fields.string("model"))
    texts, _ = fields.texts("input", ids=_IDS)
    as_base64 = fields.choice("encoding_format", ("float", "base64"), "float") == "base64"
    dimensions = fields.count("dimensions", most=named.model.dimension)
    kept, options = serving.text_options(texts, prompt="", truncate=serving.truncate(fields, False))
    counted = await embed(named.queue, kept, options, normalize=None, dimensions=dimensions)

    def write() -> str:
        rows = (f'"{vector_base64(row)}"' if as_base64 else vector_json(row) for row in counted.result)
        items = (f'{{"object":"embedding","index":{index},"embedding":{row}}}' for index, row in enumerate(rows))
        usage = to_json({"prompt_tokens": counted.tokens, "total_tokens": counted.tokens})
        return f'{{"object":"list","data":[{",".join(items)}],"model":{to_json(named.name)},"usage":{usage}}}'

    return counted_answer(await in_thread(write, counted.result.size), len(texts), counted)


def list_models(serving: Serving) -> str:
    """Answer ``GET /v1/models``."""
    return to_json({"object": "list", "data": [_describe(named) for named in serving.models]})


def one_model(serving: Serving, name: str) -> str:
    """Answer ``GET /v1/models/NAME``."""
    return to_json(_describe(serving.models.any(name)))


def _describe(named: Named[Any, Any]) -> dict[str, Any]:
    return {"id": named.name, "object": "model", "created": 0, "owned_by": "embedge"}
