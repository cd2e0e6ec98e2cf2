"""Cohere's API, version 2: ``POST /v2/embed`` and ``POST /v2/rerank``; Jina's and others' ``/v1/rerank`` is the same.

Source: Cohere's API reference, version 2, and what the package ``cohere`` sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from embedge.server.calls import embed, score
from embedge.server.endpoint import Answer, Api, Serving, counted_answer, in_thread, texts_json, to_json
from embedge.server.fields import Fields
from embedge.server.numbers import number_json, vector_base64, vectors_json
from embedge.server.request_error import RequestError

# int8 and uint8 are missing: their scale would be the range of the vectors of one request.
_TYPES = ("float", "base64", "binary", "ubinary")
_INPUT_TYPES: Mapping[str, str | None] = {
    "search_query": "query",
    "search_document": "document",
    "classification": None,
    "clustering": None,
}
_IDS = "send strings"


def _write_error(error: RequestError, status: int) -> Mapping[str, Any]:
    return {"message": error.message}


API = Api("cohere", _write_error)


async def embed_texts(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /v2/embed``: ``input_type`` chooses the prompt, and ``truncate`` is END if it is missing."""
    for name in ("images", "inputs"):
        if name in fields:
            raise RequestError(f"this server embeds texts only, found {name}; send texts", param=name)
    named = serving.models.embedder(fields.string("model"))
    texts, _ = fields.texts("texts", ids=_IDS)
    prompt = _INPUT_TYPES[fields.choice("input_type", tuple(_INPUT_TYPES), "classification")]
    types = fields.choices("embedding_types", _TYPES, ("float",))
    dimensions = fields.count("output_dimension", most=named.model.dimension)
    prompt_text = named.model.prompts.get(prompt, "") if prompt else ""
    truncate = _truncate(fields, named.model.bundle.manifest.truncation_side)
    kept, options = serving.text_options(texts, prompt=prompt_text, truncate=truncate)
    counted = await embed(named.queue, kept, options, normalize=None, dimensions=dimensions)

    def write() -> str:
        rows = ",".join(f'"{name}":{_write(name, counted.result)}' for name in types)
        head = f'"id":"{uuid4()}","response_type":"embeddings_by_type","texts":{texts_json(texts)}'
        return f'{{{head},"embeddings":{{{rows}}},"meta":{to_json(_meta(counted.tokens, counted.truncated))}}}'

    size = counted.result.size + sum(map(len, texts))
    return counted_answer(await in_thread(write, size), len(texts), counted)


def _write(kind: str, vectors: Any) -> str:
    from embedge.inference.pool import convert

    if kind == "base64":
        return to_json([vector_base64(row) for row in vectors])
    return vectors_json(vectors if kind == "float" else convert(vectors, kind))  # type: ignore[arg-type]


def _truncate(fields: Fields, side: str) -> bool:
    """Return whether texts may be truncated; the end that is cut is the model's."""
    choice = fields.choice("truncate", ("NONE", "START", "END"), "END")
    if choice != "NONE" and (choice == "START") != (side == "left"):
        if "truncate" in fields:
            raise RequestError(f"this model truncates on the {side}; send truncate NONE", param="truncate")
        return False
    return choice != "NONE"


def _meta(tokens: int, truncated: int) -> dict[str, Any]:
    warnings = {"warnings": [f"{truncated} texts were truncated"]} if truncated else {}
    return {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}, **warnings}


async def rerank(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /v2/rerank``: documents, best first, with scores between 0 and 1."""
    from embedge.inference.pool import sigmoid

    named = serving.models.reranker(fields.string("model"))
    query, documents = fields.required_string("query"), _documents(fields)
    most = fields.count("top_n")
    kept, cut = serving.cut(documents)
    pairs = [(query[: serving.limits.characters], text) for text in kept]
    counted = await score(named.queue, pairs, truncate=True, cut=cut)
    scores = sigmoid(counted.result).tolist()
    with_text = fields.flag("return_documents", False)

    def item(index: int) -> str:
        document = f',"document":{to_json({"text": documents[index]})}' if with_text else ""
        return f'{{"index":{index},"relevance_score":{number_json(scores[index])}{document}}}'

    order = (-counted.result).argsort(kind="stable")[:most].tolist()
    size = sum(map(len, documents)) if with_text else 0
    results = await in_thread(lambda: ",".join(map(item, order)), size)
    meta = {**_meta(counted.tokens, counted.truncated), "billed_units": {"search_units": 1}}
    content = f'{{"id":"{uuid4()}","model":{to_json(named.name)},"results":[{results}],"meta":{to_json(meta)}}}'
    return counted_answer(content, len(documents), counted)


def _documents(fields: Fields) -> list[str]:
    """Return the documents: strings, or objects with a ``text``, as version 1 and Jina's API have them."""
    value = fields.value("documents")
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "text" in one for one in value):
        return Fields({"documents": [one["text"] for one in value]}, fields.limits).texts("documents", ids=_IDS)[0]
    return fields.texts("documents", ids=_IDS)[0]
