"""A model on the rows of an Arrow table or record batch: the same rows, with its output as new columns.

    embed_rows     vectors             FixedSizeList<float>[dimension]
    sparse_rows    lexical weights     struct<indices: list<int32>, values: list<float>>
    rerank_rows    scores              float

Each can write one more column that says which texts were truncated, because a job on many machines has nobody who reads
warnings. The vectors are those of ``Embedder.encode``, bit for bit on a CPU, whatever rows share a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from embedge.embedder import Embedder
from embedge.errors import InputValueError
from embedge.inference.options import OnTruncate, check_choice
from embedge.integrations.arrow import (
    OnInvalid,
    Rows,
    check_new_columns,
    numbers_column,
    read_texts,
    sparse_column,
    vectors_column,
    with_columns,
)
from embedge.reranker import Reranker, scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.jobs import Job

Kind = Literal["document", "query"]
# Embedder's int8 and uint8 need the range of all vectors, which no batch of a table knows.
StoredPrecision = Literal["float32", "binary", "ubinary"]


def embed_rows(
    model: Embedder,
    rows: Rows,
    *,
    column: str = "text",
    output_column: str = "embedding",
    truncated_column: str | None = None,
    on_invalid: OnInvalid = "error",
    id_column: str | None = None,
    kind: Kind = "document",
    prompt: str | None = None,
    batch_tokens: int | None = None,
    normalize: bool | None = None,
    truncate_dim: int | None = None,
    output_precision: StoredPrecision = "float32",
    on_truncate: OnTruncate = "warn",
) -> Rows:
    """Return the rows with their texts' vectors.

    Args:
        model: the model.
        rows: a table or a record batch.
        column: the column of the texts.
        output_column: the new column: FixedSizeList<float>[dimension]; for ``"binary"`` and ``"ubinary"``
            FixedSizeList<int8 or uint8>[ceil(dimension / 8)].
        truncated_column: another new column, bool: whether the text was longer than the model reads; None: none.
        on_invalid: what to do about a null or an object that is not a string: ``"error"``, or ``"null"``, which makes
            the new columns null in its row.
        id_column: the column that names a row in messages; None names it by its position in the batch.
        kind: whose prompt to put in front of each text, if the model has one: ``"document"`` or ``"query"``.
        prompt: text to put in front of each instead; "" puts none.
        batch_tokens: see ``Embedder.encode``.
        normalize: see ``Embedder.encode``.
        truncate_dim: see ``Embedder.encode``.
        output_precision: ``"float32"``, ``"binary"`` or ``"ubinary"``; see ``precision`` of ``Embedder.encode``.
        on_truncate: see ``Embedder.encode``; positions in its messages count the texts that are not null.

    Raises:
        InputTypeError: the column does not hold strings, a row does not, or an option has the wrong type.
        InputValueError: there is no such column, a row is null, a name is taken, or an option has a wrong value.
    """
    if output_precision not in ("float32", "binary", "ubinary"):
        raise InputValueError(
            f"output_precision must be one of float32, binary, ubinary, found {output_precision!r}; "
            "int8 and uint8 need the range of all vectors"
        )
    check_choice("kind", kind, get_args(Kind))
    check_new_columns(rows, output_column, truncated_column)
    texts = read_texts(rows, column, on_invalid=on_invalid, id_column=id_column)
    job, _ = model._vector_job(
        texts.strings,
        prompt=model._kind_prompt(kind, prompt, None),
        prompt_name=None,
        batch_tokens=batch_tokens,
        normalize=normalize,
        truncate_dim=truncate_dim,
        precision=output_precision,
        show_progress_bar=False,
        on_truncate=on_truncate,
        batch_size=None,
        normalize_embeddings=None,
        convert_to_numpy=True,
        convert_to_tensor=False,
        device=None,
    )
    vectors = model._engine.run(job)
    columns = {output_column: vectors_column(vectors, texts.present)}
    return with_columns(rows, columns | _truncated(truncated_column, job, texts.present))


def sparse_rows(
    model: Embedder,
    rows: Rows,
    *,
    column: str = "text",
    output_column: str = "sparse",
    truncated_column: str | None = None,
    on_invalid: OnInvalid = "error",
    id_column: str | None = None,
    kind: Kind = "document",
    prompt: str | None = None,
    batch_tokens: int | None = None,
    on_truncate: OnTruncate = "warn",
) -> Rows:
    """Return the rows with their texts' lexical weights: struct<indices: list<int32>, values: list<float>>.

    The arguments and errors are those of ``embed_rows``.

    Raises:
        BundleError: the model has no lexical weights.
    """
    check_choice("kind", kind, get_args(Kind))
    check_new_columns(rows, output_column, truncated_column)
    texts = read_texts(rows, column, on_invalid=on_invalid, id_column=id_column)
    job, _ = model._sparse_job(
        texts.strings,
        prompt=model._kind_prompt(kind, prompt, None),
        prompt_name=None,
        batch_tokens=batch_tokens,
        show_progress_bar=False,
        on_truncate=on_truncate,
    )
    vectors = model._engine.run(job)
    columns = {output_column: sparse_column(vectors, texts.present)}
    return with_columns(rows, columns | _truncated(truncated_column, job, texts.present))


def rerank_rows(
    model: Reranker,
    rows: Rows,
    *,
    query_column: str = "query",
    column: str = "text",
    output_column: str = "score",
    truncated_column: str | None = None,
    on_invalid: OnInvalid = "error",
    id_column: str | None = None,
    normalize: bool = False,
    batch_tokens: int | None = None,
    on_truncate: OnTruncate = "warn",
) -> Rows:
    """Return the rows with the score of each row's pair of query and document, as float.

    Args:
        model: the reranker.
        rows: a table or a record batch.
        query_column: the column of the queries.
        column: the column of the documents.
        output_column: the new column, float.
        truncated_column: see ``embed_rows``.
        on_invalid: see ``embed_rows``; a row is invalid if one of its two texts is.
        id_column: see ``embed_rows``.
        normalize: scores between 0 and 1; see ``Reranker.score``.
        batch_tokens: see ``Reranker.score``.
        on_truncate: see ``Reranker.score``.

    Raises:
        InputTypeError: as for ``embed_rows``.
        InputValueError: as for ``embed_rows``; or a query leaves no room for its document.
    """
    check_new_columns(rows, output_column, truncated_column)
    queries = read_texts(rows, query_column, on_invalid=on_invalid, id_column=id_column)
    documents = read_texts(rows, column, on_invalid=on_invalid, id_column=id_column)
    present = queries.present & documents.present
    pairs = list(zip(queries.of_rows(present), documents.of_rows(present), strict=True))
    job, _, use_sigmoid = model._score_job(
        pairs, normalize=normalize, batch_tokens=batch_tokens, show_progress_bar=False, on_truncate=on_truncate
    )
    scores = scaled(model._engine.run(job), use_sigmoid)
    columns = {output_column: numbers_column(scores, present)}
    return with_columns(rows, columns | _truncated(truncated_column, job, present))


def _truncated(name: str | None, job: Job[Any], present: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the column that says which texts of a job were truncated, if there is to be one."""
    if name is None:
        return {}
    is_truncated = np.zeros(int(present.sum()), np.bool_)
    is_truncated[job.truncation.positions] = True
    return {name: numbers_column(is_truncated, present)}
