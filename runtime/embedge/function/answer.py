"""Answer a request: check its fields, call the model, and return what JSON can hold.

A request is a JSON object. Which fields it has depends on the model:

    Embedder   {"texts": [...]}                       documents, with the document prompt
               {"query": "..."}  or  {"query": [...]} queries, with the query prompt
    Reranker   {"pairs": [["query", "document"], ...]}
               {"query": "...", "documents": [...]}   the documents, best first
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embedge.embedder import Embedder
from embedge.errors import InputTypeError, InputValueError, short
from embedge.inference.options import OUTPUT_PRECISIONS, RANGED, check_choice
from embedge.reranker import Reranker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# int8 and uint8 are missing: their scale is the range of all vectors, and a request has only some of them.
_PRECISIONS = tuple(name for name in OUTPUT_PRECISIONS if name not in RANGED)
_ENCODINGS = ("float", "base64")
_VECTOR_OPTIONS = ("truncate_dim", "precision", "normalize", "on_truncate", "encoding")
_SCORE_OPTIONS = ("normalize", "on_truncate")
_EMBEDDERS_KINDS = (("texts",), ("query",))
_RERANKERS_KINDS = (("pairs",), ("query", "documents"))  # in the order of errors
Request = Mapping[str, Any]
Model = Embedder | Reranker


def describe(model: Model) -> dict[str, Any]:
    """Return what a client needs to know of the model: its name, task, precision, token limit and dimension."""
    found = {**_name(model), "task": model.bundle.manifest.task, "precision": model.precision}
    dimension = {"dimension": model.dimension} if isinstance(model, Embedder) else {}
    return {**found, "max_tokens": model.max_tokens, **dimension}


def answer(model: Model, request: object) -> dict[str, Any]:
    """Return the answer to a request, ready for JSON.

    Args:
        model: the model that answers.
        request: the request as JSON gave it.

    Returns:
        For an embedder ``model``, ``dimension`` and ``vectors``: a list for each text, of floats that give the float32
        back exactly, or of integers for binary; or a base64 string of the vector's bytes, little-endian. For a
        reranker ``model`` and ``scores``, or ``results``: objects with ``index`` and ``score``.

    Raises:
        InputTypeError: a field has the wrong type.
        InputValueError: a field is missing, unknown or has a wrong value.
    """
    if not isinstance(request, Mapping):
        raise InputTypeError(
            f'a request must be a JSON object, such as {{"texts": ["..."]}}, found {type(request).__name__}'
        )
    # A client may write null for what it leaves to us.
    fields = {name: value for name, value in request.items() if value is not None}
    if isinstance(model, Embedder):
        return _embed(model, fields)
    return _rank(model, fields) if "documents" in fields else _score(model, fields)


def _embed(model: Embedder, request: Request) -> dict[str, Any]:
    kind = _check_fields(request, _EMBEDDERS_KINDS, _VECTOR_OPTIONS, "an embedder")
    encoding, precision = request.get("encoding", "float"), request.get("precision", "float32")
    check_choice("encoding", encoding, _ENCODINGS)
    check_choice("precision", precision, _PRECISIONS)
    encode = model.encode_document if kind == "texts" else model.encode_query
    texts = request[kind]
    vectors = encode(
        [texts] if isinstance(texts, str) else texts,
        truncate_dim=request.get("truncate_dim"),
        precision=precision,
        normalize=request.get("normalize"),
        on_truncate=request.get("on_truncate", "warn"),
        show_progress_bar=False,
    )
    dimension = request.get("truncate_dim", model.dimension)
    return {**_name(model), "dimension": dimension, "vectors": _to_json(vectors, encoding)}


def _score(model: Reranker, request: Request) -> dict[str, Any]:
    _check_fields(request, _RERANKERS_KINDS, _SCORE_OPTIONS, "a reranker")
    pairs: Sequence[Sequence[str]] = request["pairs"]
    scores = model.score(
        pairs,
        normalize=request.get("normalize", False),
        on_truncate=request.get("on_truncate", "warn"),
        show_progress_bar=False,
    )
    return {**_name(model), "scores": _exact(scores.tolist())}


def _rank(model: Reranker, request: Request) -> dict[str, Any]:
    _check_fields(request, _RERANKERS_KINDS, (*_SCORE_OPTIONS, "top_k"), "a reranker")
    ranked = model.rank(
        request["query"],
        request["documents"],
        top_k=request.get("top_k"),
        normalize=request.get("normalize", False),
        on_truncate=request.get("on_truncate", "warn"),
        show_progress_bar=False,
    )
    return {**_name(model), "results": [{"index": index, "score": _exact([score])[0]} for index, score in ranked]}


def _check_fields(request: Request, kinds: Sequence[Sequence[str]], options: Sequence[str], what: str) -> str:
    """Return the first field of the kind of input that a request has; raise if it has none, two, or other fields."""
    found = [kind for kind in kinds if all(name in request for name in kind)]
    inputs = " or ".join(" with ".join(f'"{name}"' for name in kind) for kind in kinds)
    if len(found) != 1:
        names = ", ".join(short(name) for name in request) or "no field"
        raise InputValueError(f"a request to {what} needs either {inputs}; found {short(names, write=str)}")
    known = (*found[0], *options)
    for name in request:
        if name not in known:
            raise InputValueError(
                f"no field is called {short(name)}; a request to {what} has {inputs}, and may have {', '.join(options)}"
            )
    return found[0][0]


def _name(model: Model) -> dict[str, Any]:
    return {"model": model.bundle.manifest.model}


def _to_json(vectors: NDArray[np.generic], encoding: str) -> list[Any]:
    """Return the vectors [n, dimension] as lists of numbers, or as base64 strings of their bytes, little-endian."""
    if encoding == "base64":
        little = vectors.astype(vectors.dtype.newbyteorder("<"), copy=False)
        return [b64encode(row.tobytes()).decode() for row in little]
    rows: list[Any] = vectors.tolist()
    return [_exact(row) for row in rows] if vectors.dtype.kind == "f" else rows


def _exact(numbers: list[float]) -> list[float]:
    """Return float32 numbers as floats that JSON writes with nine digits, not 17. Nine give a float32 back exactly.

    >>> _exact([0.10000000149011612])
    [0.100000001]
    """
    return [float(f"{number:.9g}") for number in numbers]
