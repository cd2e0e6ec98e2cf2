"""Ollama's API: ``POST /api/embed``, the older ``/api/embeddings``, and what clients ask before.

Source: Ollama's API documentation, and what the package ``ollama`` sends. Durations are nanoseconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from embedge.server.calls import embed
from embedge.server.endpoint import Answer, Api, Serving, counted_answer, in_thread, to_json
from embedge.server.fields import Fields
from embedge.server.numbers import vector_json, vectors_json
from embedge.server.request_error import RequestError
from embedge.version import __version__

if TYPE_CHECKING:
    from embedge.server.served import Named

_IDS = "send strings"


def _write_error(error: RequestError, status: int) -> Mapping[str, Any]:
    return {"error": error.message}


API = Api("ollama", _write_error)


async def embed_input(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /api/embed``. A text that is too long is truncated unless ``truncate`` is false, as in Ollama."""
    begin = time.perf_counter_ns()
    named = serving.models.embedder(fields.required_string("model"))
    texts, _ = fields.texts("input", ids=_IDS)
    dimensions = fields.count("dimensions", most=named.model.dimension)
    kept, options = serving.text_options(texts, prompt="", truncate=serving.truncate(fields, True))
    counted = await embed(named.queue, kept, options, normalize=None, dimensions=dimensions)
    rows = await in_thread(lambda: vectors_json(counted.result), counted.result.size)
    spent = time.perf_counter_ns() - begin
    counts = f'"total_duration":{spent},"load_duration":0,"prompt_eval_count":{counted.tokens}'
    content = f'{{"model":{to_json(fields.value("model"))},"embeddings":{rows},{counts}}}'
    return counted_answer(content, len(texts), counted)


async def embed_prompt(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /api/embeddings``: one vector of one text, truncated as in ``/api/embed``."""
    named = serving.models.embedder(fields.required_string("model"))
    text = fields.required_string("prompt")
    kept, options = serving.text_options([text], prompt="", truncate=serving.truncate(fields, True))
    counted = await embed(named.queue, kept, options, normalize=None, dimensions=None)
    return counted_answer(f'{{"embedding":{vector_json(counted.result[0])}}}', 1, counted)


async def show(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /api/show``: which model it is, and that it embeds."""
    named = serving.models.embedder(fields.string("model") or fields.string("name"))
    manifest = named.model.bundle.manifest
    architecture = manifest.architecture
    facts = {
        "general.architecture": architecture,
        f"{architecture}.context_length": manifest.max_tokens,
        f"{architecture}.embedding_length": manifest.dimension,
    }
    details = _details(named)
    return Answer(
        to_json({"details": details, "model_info": facts, "capabilities": ["embedding"], "license": manifest.licence})
    )


def tags(serving: Serving) -> str:
    """Answer ``GET /api/tags``: the embedders."""
    return to_json({"models": [_tag(named) for named in serving.models.embedders]})


def version(serving: Serving) -> str:
    """Answer ``GET /api/version``: embedge's version."""
    return to_json({"version": __version__})


def _tag(named: Named[Any, Any]) -> dict[str, Any]:
    bundle = named.model.bundle
    file = bundle.manifest.precisions[named.model.precision].file
    files = [entry for path, entry in bundle.manifest.files.items() if path.startswith(file)]
    changed = datetime.fromtimestamp((bundle.path / "embedge.json").stat().st_mtime, UTC)
    return {
        "name": named.name,
        "model": named.name,
        "modified_at": changed.isoformat(),
        "size": sum(entry.size for entry in files),
        "digest": bundle.manifest.files[file].sha256,
        "details": _details(named),
    }


def _details(named: Named[Any, Any]) -> dict[str, Any]:
    family = named.model.bundle.manifest.architecture
    return {"format": "onnx", "family": family, "families": [family], "quantization_level": named.model.precision}
