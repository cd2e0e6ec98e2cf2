"""text-embeddings-inference's API, which Hugging Face's client uses, too.

Source: TEI's OpenAPI document, and what llama-index's and huggingface_hub's clients send. Other than there, a request
may name a ``model`` if the server has several; otherwise the first embedder, or reranker, answers. Texts that are too
long are truncated unless the request, or ``--no-auto-truncate``, says otherwise: so does TEI since version 1.9, whose
``--auto-truncate`` is on by default (its OpenAPI document still has ``"default": "false"`` for the field).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embedge.errors import BundleError
from embedge.server.calls import TextOptions, embed, embed_multi_vector, embed_sparse, score
from embedge.server.endpoint import Answer, Api, Serving, counted_answer, in_thread, lacking, to_json
from embedge.server.fields import Fields
from embedge.server.numbers import number_json, vectors_json
from embedge.server.request_error import Kind, RequestError
from embedge.server.token_list import list_tokens

if TYPE_CHECKING:
    from embedge.inference.sparse import SparseVector
    from embedge.model import Model
    from embedge.server.served import Named

_TYPES: Mapping[Kind, str] = {
    "empty": "Empty",
    "overloaded": "Overloaded",
    "timeout": "Overloaded",
    "internal": "Backend",
}
_STATUSES: Mapping[Kind, int] = {"invalid": 422, "too_many": 413, "too_long": 413}
_IDS = "send strings"


def _write_error(error: RequestError, status: int) -> Mapping[str, Any]:
    return {"error": error.message, "error_type": _TYPES.get(error.kind, "Validation")}


API = Api("tei", _write_error, _STATUSES)


async def embed_inputs(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /embed``: a list of vectors, also for one string."""
    named = serving.models.embedder(fields.string("model"))
    texts, _ = fields.texts("inputs", ids=_IDS)
    kept, options = _options(serving, fields, named.model, texts)
    normalize = fields.optional_flag("normalize")
    dimensions = fields.count("dimensions", most=named.model.dimension)
    counted = await embed(named.queue, kept, options, normalize=normalize, dimensions=dimensions)
    content = await in_thread(lambda: vectors_json(counted.result), counted.result.size)
    return counted_answer(content, len(texts), counted)


async def root(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /``: similarity if the inputs are an object, scores if there is a query, else vectors."""
    if isinstance(fields.value("inputs"), Mapping):
        return await similarity(serving, fields)
    return await (rerank if "query" in fields else embed_inputs)(serving, fields)


async def sparse(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /embed_sparse``: for each text a list of token ids with their weights."""
    named = serving.models.embedder(fields.string("model"))
    texts, _ = fields.texts("inputs", ids=_IDS)
    kept, options = _options(serving, fields, named.model, texts)
    try:
        counted = await embed_sparse(named.queue, kept, options)
    except BundleError as error:
        raise lacking(error, named.model.bundle.manifest.sparse) from error
    content = await in_thread(lambda: _sparse_json(counted.result), sum(map(len, counted.result)))
    return counted_answer(content, len(texts), counted)


async def embed_all(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /embed_all``: for each text a vector for each token, from the model's multi-vector head."""
    named = serving.models.embedder(fields.string("model"))
    texts, _ = fields.texts("inputs", ids=_IDS)
    kept, options = _options(serving, fields, named.model, texts)
    try:
        counted = await embed_multi_vector(named.queue, kept, options)
    except BundleError as error:
        raise lacking(error, named.model.bundle.manifest.multi_vector) from error
    numbers = sum(vectors.size for vectors in counted.result)
    content = await in_thread(lambda: f"[{','.join(map(vectors_json, counted.result))}]", numbers)
    return counted_answer(content, len(texts), counted)


async def similarity(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /similarity``: the similarity of a sentence to each of some others."""
    inputs = fields.member("inputs")
    source, others = inputs.required_string("source_sentence"), inputs.texts("sentences", ids=_IDS)[0]
    parameters = fields.member("parameters") if "parameters" in fields else fields
    named = serving.models.embedder(fields.string("model"))
    texts = [source, *others]
    kept, options = _options(serving, parameters, named.model, texts)
    counted = await embed(named.queue, kept, options, normalize=None, dimensions=None)
    scores = named.model.similarity(counted.result[0], counted.result[1:])[0]
    return counted_answer(f"[{','.join(map(number_json, scores.tolist()))}]", len(texts), counted)


async def rerank(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /rerank``: scores of texts for a query, best first; between 0 and 1 unless ``raw_scores``."""
    from embedge.inference.pool import sigmoid

    query, (texts, _) = fields.required_string("query"), fields.texts("texts", ids=_IDS)
    raw, with_text = fields.flag("raw_scores", False), fields.flag("return_text", False)
    named = serving.models.reranker(fields.string("model"))
    truncate = _truncate(serving, fields, named.model)
    kept, cut = serving.cut(texts)
    pairs = [(query[: serving.limits.characters], text) for text in kept]
    counted = await score(named.queue, pairs, truncate=truncate, cut=cut)
    order = (-counted.result).argsort(kind="stable").tolist()  # by logits: high ones have the same sigmoid, rounded
    scores = (counted.result if raw else sigmoid(counted.result)).tolist()

    def item(index: int) -> str:
        text = f',"text":{to_json(texts[index])}' if with_text else ""
        return f'{{"index":{index}{text},"score":{number_json(scores[index])}}}'

    size = sum(map(len, texts)) if with_text else 0
    content = await in_thread(lambda: f"[{','.join(map(item, order))}]", size)
    return counted_answer(content, len(texts), counted)


async def tokenize(serving: Serving, fields: Fields) -> Answer:
    """Answer ``POST /tokenize``: the tokens of each text, before truncation."""
    named = serving.models.any(fields.string("model"))
    texts, _ = fields.texts("inputs", ids=_IDS)
    special, prompt = fields.flag("add_special_tokens", True), _prompt(named.model, fields)
    path = named.model.bundle.path / "tokenizer.json"
    rows = await asyncio.to_thread(list_tokens, path, [prompt + text for text in texts], special_tokens=special)
    tokens = sum(map(len, rows))
    content = await in_thread(lambda: f"[{','.join(map(to_json, rows))}]", 16 * tokens)
    return Answer(content, len(texts), tokens)


def info(serving: Serving) -> str:
    """Answer ``GET /info``: what is served, and the limits."""
    from embedge.version import __version__

    first = next(iter(serving.models))
    return to_json(
        {
            **_describe(first),
            "max_client_batch_size": serving.limits.texts,
            "auto_truncate": serving.auto_truncate is not False,
            "version": __version__,
            "models": [_describe(named) for named in serving.models],
        }
    )


def _describe(named: Named[Any, Any]) -> dict[str, Any]:
    manifest = named.model.bundle.manifest
    reranks = manifest.task == "rerank"
    kind = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
    dimension = {} if reranks else {"dimension": manifest.dimension, "prompts": sorted(manifest.prompts)}
    extra = {} if reranks else {"sparse": manifest.sparse, "multi_vector": manifest.multi_vector}
    return {
        "model_id": named.name,
        "model_sha": manifest.source.revision,
        "model_dtype": named.model.precision,
        "model_type": kind if reranks else {"embedding": {"pooling": manifest.pooling}},
        "max_input_length": manifest.max_tokens,
        "device": named.model.device,
        **dimension,
        **extra,
    }


def _options(serving: Serving, fields: Fields, model: Model, texts: Sequence[str]) -> tuple[list[str], TextOptions]:
    truncate = _truncate(serving, fields, model)
    return serving.text_options(texts, prompt=_prompt(model, fields), truncate=truncate)


def _truncate(serving: Serving, fields: Fields, model: Model) -> bool:
    """Return whether texts may be truncated; the end that is cut is the model's, and no request may choose it."""
    side = model.bundle.manifest.truncation_side
    if fields.choice("truncation_direction", ("left", "right"), side) != side:
        message = f'this model truncates on the {side}; leave truncation_direction out, or send "{side}"'
        raise RequestError(message, param="truncation_direction")
    return serving.truncate(fields, True)


def _prompt(model: Any, fields: Fields) -> str:
    """Return the prompt that a request names; no prompt if it names none, since clients add prompts themselves."""
    name = fields.string("prompt_name")
    prompts: Mapping[str, str] = model.bundle.manifest.prompts
    if name is None:
        return ""
    if name not in prompts:
        known = ", ".join(prompts) or "none"
        raise RequestError(f"no prompt is called {name}, this model has: {known}", param="prompt_name")
    return prompts[name]


def _sparse_json(vectors: Sequence[SparseVector]) -> str:
    def row(vector: SparseVector) -> str:
        pairs = zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
        items = (f'{{"index":{index},"value":{number_json(value)}}}' for index, value in pairs)
        return f"[{','.join(items)}]"

    return f"[{','.join(map(row, vectors))}]"
