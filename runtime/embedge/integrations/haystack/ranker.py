"""Documents by how well they answer a query."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from haystack import Document, component, default_to_dict

from embedge import OnTruncate, Precision, Reranker
from embedge.inference.options import check_count
from embedge.integrations.haystack.common import MODULE, Component, read_texts
from embedge.integrations.source import Source


@component
class EmbedgeRanker(Component[Reranker]):
    """The documents that answer a query best, best first; copies, with the reranker's score.

    Args:
        model: a recipe's name, a hub id, a bundle's path, or a ``Reranker``, of which a saved pipeline keeps the path.
        top_k: how many documents to return.
        precision: of the graph, as in ``Reranker``, like the four that follow.
        providers: see ``Reranker``.
        threads: see ``Reranker``.
        cache_dir: see ``Reranker``.
        local_files_only: see ``Reranker``.
        meta_fields_to_embed: meta data to put in front of the content, where a document has them.
        embedding_separator: text between them.
        scale_score: scores between 0 and 1, by the sigmoid; otherwise they are logits.
        score_threshold: leave out documents with a lower score.
        batch_tokens: as in ``Reranker.rank``.
        on_truncate: see ``Reranker.rank``.

    Raises:
        InputValueError: ``top_k`` is less than 1.
    """

    __module__ = MODULE
    _kind = Reranker

    def __init__(
        self,
        model: str | PathLike[str] | Reranker = "bge-reranker-base",
        *,
        top_k: int = 10,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        scale_score: bool = True,
        score_threshold: float | None = None,
        batch_tokens: int | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> None:
        self._source = Source(
            model=model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        self._top_k = check_count("top_k", top_k)
        self._fields = list(meta_fields_to_embed or [])
        self._separator = embedding_separator
        self._scale_score = scale_score
        self._score_threshold = score_threshold
        self._batch_tokens = batch_tokens
        self._on_truncate: OnTruncate = on_truncate

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        scale_score: bool | None = None,
        score_threshold: float | None = None,
    ) -> dict[str, list[Document]]:
        """The best documents; arguments that are None are the constructor's.

        Returns:
            ``documents``: copies, best first, each with a ``score``.

        Raises:
            InputTypeError: an input is not a Document.
            InputValueError: as ``Reranker.rank``.
        """
        threshold = self._score_threshold if score_threshold is None else score_threshold
        ranked = self._model().rank(
            query,
            read_texts(documents, self._fields, self._separator),
            top_k=self._top_k if top_k is None else top_k,
            normalize=self._scale_score if scale_score is None else scale_score,
            batch_tokens=self._batch_tokens,
            on_truncate=self._on_truncate,
        )
        kept = [(index, score) for index, score in ranked if threshold is None or score >= threshold]
        return {"documents": [replace(documents[index], score=score) for index, score in kept]}

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments, as a pipeline saves them."""
        return default_to_dict(
            self,
            **self._source.config(),
            top_k=self._top_k,
            meta_fields_to_embed=self._fields,
            embedding_separator=self._separator,
            scale_score=self._scale_score,
            score_threshold=self._score_threshold,
            batch_tokens=self._batch_tokens,
            on_truncate=self._on_truncate,
        )
