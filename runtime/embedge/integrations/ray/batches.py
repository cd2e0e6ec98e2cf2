"""Callable classes for ``map_batches``: each loads a model once in its actor, and adds columns to Arrow batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING

from embedge.bundle.manifest import Precision
from embedge.embedder import Embedder
from embedge.inference.options import OnTruncate
from embedge.inference.providers import ProviderArgument
from embedge.integrations.arrow import OnInvalid
from embedge.integrations.source import ModelSource
from embedge.integrations.tables import Kind, StoredPrecision, embed_rows, rerank_rows, sparse_rows
from embedge.reranker import Reranker

if TYPE_CHECKING:
    import pyarrow as pa


class EmbedBatches:
    """Adds the vectors of a column of texts: FixedSizeList<float>[dimension], which stays so in Parquet.

    They are those of ``Embedder.encode_document``, bit for bit on a CPU, however Ray cuts the rows into batches.

    Args:
        model: the name of a recipe, a hub id, or the path of a bundle, which every node must have.
        column: the column of the texts.
        output_column: the new column.
        truncated_column: another new column, bool: whether a text was longer than the model reads; None: none.
        on_invalid: what to do about a null or an object that is not a string: ``"error"``, which names the row, or
            ``"null"``, which makes the new columns null in its row.
        id_column: the column that names a row in messages; None names it by its position in the batch.
        kind: whose prompt to put in front of each text, if the model has one: ``"document"`` or ``"query"``.
        prompt: text to put in front of each instead; "" puts none.
        batch_tokens: see ``Embedder.encode``.
        normalize: see ``Embedder.encode``.
        truncate_dim: see ``Embedder.encode``.
        output_precision: ``"float32"``, ``"binary"`` or ``"ubinary"``; see ``precision`` of ``Embedder.encode``.
        on_truncate: see ``Embedder.encode``. ``"warn"`` writes a line for each batch into the worker's log, so the
            default counts truncated texts in a column instead.
        precision: see ``Embedder``.
        device: see ``Embedder``.
        providers: see ``Embedder``.
        threads: see ``Embedder``; one core, because Ray runs an actor for each.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        kernels: see ``Embedder``.

    Raises:
        EmbedgeError: the errors of ``Embedder`` when an actor starts, and of ``embed_rows`` for a batch.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "bge-small-en-v1.5",
        *,
        column: str = "text",
        output_column: str = "embedding",
        truncated_column: str | None = "truncated",
        on_invalid: OnInvalid = "error",
        id_column: str | None = None,
        kind: Kind = "document",
        prompt: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        output_precision: StoredPrecision = "float32",
        on_truncate: OnTruncate = "ignore",
        precision: Precision | None = None,
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = 1,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
    ) -> None:
        source = ModelSource(
            model=model,
            precision=precision,
            device=device,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            kernels=kernels,
        )
        self._run = partial(
            embed_rows,
            source.open(Embedder),
            column=column,
            output_column=output_column,
            truncated_column=truncated_column,
            on_invalid=on_invalid,
            id_column=id_column,
            kind=kind,
            prompt=prompt,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            output_precision=output_precision,
            on_truncate=on_truncate,
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return a batch with the new columns; raises the errors of ``embed_rows``."""
        return self._run(batch)


class SparseBatches:
    """Adds the lexical weights of a column of texts: struct<indices: list<int32>, values: list<float>>.

    For models that have them, such as bge-m3. The arguments are those of ``EmbedBatches``.

    Raises:
        EmbedgeError: as for ``EmbedBatches``.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "bge-m3",
        *,
        column: str = "text",
        output_column: str = "sparse",
        truncated_column: str | None = "truncated",
        on_invalid: OnInvalid = "error",
        id_column: str | None = None,
        kind: Kind = "document",
        prompt: str | None = None,
        batch_tokens: int | None = None,
        on_truncate: OnTruncate = "ignore",
        precision: Precision | None = None,
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = 1,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
    ) -> None:
        source = ModelSource(
            model=model,
            precision=precision,
            device=device,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            kernels=kernels,
        )
        self._run = partial(
            sparse_rows,
            source.open(Embedder),
            column=column,
            output_column=output_column,
            truncated_column=truncated_column,
            on_invalid=on_invalid,
            id_column=id_column,
            kind=kind,
            prompt=prompt,
            batch_tokens=batch_tokens,
            on_truncate=on_truncate,
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return a batch with the new columns; raises the errors of ``sparse_rows``."""
        return self._run(batch)


class RerankBatches:
    """Adds the score of each row's pair of query and document, as float; higher is better.

    Args:
        model: as for ``EmbedBatches``, of a reranker.
        query_column: the column of the queries.
        column: the column of the documents.
        output_column: the new column.
        truncated_column: another new column, bool: whether a pair was longer than the model reads; None: none.
        on_invalid: see ``EmbedBatches``; a row is invalid if one of its two texts is.
        id_column: see ``EmbedBatches``.
        normalize: scores between 0 and 1; see ``Reranker.score``.
        batch_tokens: see ``Reranker.score``.
        on_truncate: see ``EmbedBatches``.
        precision: see ``Embedder``.
        device: see ``Embedder``.
        providers: see ``Embedder``.
        threads: see ``EmbedBatches``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        kernels: see ``Embedder``.

    Raises:
        EmbedgeError: the errors of ``Reranker`` when an actor starts, and of ``rerank_rows`` for a batch.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "bge-reranker-base",
        *,
        query_column: str = "query",
        column: str = "text",
        output_column: str = "score",
        truncated_column: str | None = "truncated",
        on_invalid: OnInvalid = "error",
        id_column: str | None = None,
        normalize: bool = False,
        batch_tokens: int | None = None,
        on_truncate: OnTruncate = "ignore",
        precision: Precision | None = None,
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = 1,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
    ) -> None:
        source = ModelSource(
            model=model,
            precision=precision,
            device=device,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            kernels=kernels,
        )
        self._run = partial(
            rerank_rows,
            source.open(Reranker),
            query_column=query_column,
            column=column,
            output_column=output_column,
            truncated_column=truncated_column,
            on_invalid=on_invalid,
            id_column=id_column,
            normalize=normalize,
            batch_tokens=batch_tokens,
            on_truncate=on_truncate,
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return a batch with the new columns; raises the errors of ``rerank_rows``."""
        return self._run(batch)
