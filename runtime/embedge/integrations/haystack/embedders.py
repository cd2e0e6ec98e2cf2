"""A query or documents to vectors."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from haystack import Document, component, default_to_dict

from embedge import Embedder, InputTypeError, OnTruncate, Precision
from embedge.integrations.encoding import Encoding
from embedge.integrations.haystack.common import MODULE, Component, read_texts
from embedge.integrations.source import Source


class _EmbedderComponent(Component[Embedder]):
    _kind = Embedder
    _encoding: Encoding
    _suffix: str

    def _common(self) -> dict[str, Any]:
        return {
            **self._source.config(),
            "suffix": self._suffix,
            "normalize_embeddings": self._encoding.normalize,
            "truncate_dim": self._encoding.truncate_dim,
            "batch_tokens": self._encoding.batch_tokens,
            "on_truncate": self._encoding.on_truncate,
        }


@component
class EmbedgeTextEmbedder(_EmbedderComponent):
    """A query to its vector.

    Args:
        model: a recipe's name, a hub id, a bundle's path, or an ``Embedder``, of which a saved pipeline keeps the path.
        precision: of the graph, as in ``Embedder``, like the four that follow.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        prefix: text put in front; None is the model's query prompt, "" is none.
        suffix: text put behind.
        normalize_embeddings: scale vectors to length 1; None does what the model was trained for.
        truncate_dim: as in ``Embedder.encode``, like the two that follow.
        batch_tokens: see ``Embedder.encode``.
        on_truncate: see ``Embedder.encode``.
    """

    __module__ = MODULE

    def __init__(
        self,
        model: str | PathLike[str] | Embedder = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        prefix: str | None = None,
        suffix: str = "",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
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
        self._encoding = Encoding(
            query_prompt=prefix,
            batch_tokens=batch_tokens,
            normalize=normalize_embeddings,
            truncate_dim=truncate_dim,
            on_truncate=on_truncate,
        )
        self._suffix = suffix

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """The vector of a text.

        Returns:
            ``embedding``: [dimension].

        Raises:
            InputTypeError: the text is not a string.
            InputValueError: as ``Embedder.encode_query``.
        """
        if not isinstance(text, str):
            found = type(text).__name__
            raise InputTypeError(f"text must be a string, found {found}; EmbedgeDocumentEmbedder takes Documents")
        return {"embedding": self._encoding.query(self._model(), text + self._suffix)}

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments, as a pipeline saves them."""
        return default_to_dict(self, **self._common(), prefix=self._encoding.query_prompt)


@component
class EmbedgeDocumentEmbedder(_EmbedderComponent):
    """Documents to copies with their vectors.

    Args:
        model: as in ``EmbedgeTextEmbedder``, like all that are not explained.
        precision: see ``EmbedgeTextEmbedder``.
        providers: see ``EmbedgeTextEmbedder``.
        threads: see ``EmbedgeTextEmbedder``.
        cache_dir: see ``EmbedgeTextEmbedder``.
        local_files_only: see ``EmbedgeTextEmbedder``.
        prefix: text put in front; None is the model's document prompt, which BGE does not have, "" is none.
        suffix: text put behind.
        progress_bar: on stderr; None shows one when the work is long and stderr is a terminal.
        normalize_embeddings: see ``EmbedgeTextEmbedder``.
        meta_fields_to_embed: meta data to put in front of the content, where a document has them.
        embedding_separator: text between them.
        truncate_dim: see ``EmbedgeTextEmbedder``.
        batch_tokens: see ``EmbedgeTextEmbedder``.
        on_truncate: see ``EmbedgeTextEmbedder``.
    """

    __module__ = MODULE

    def __init__(
        self,
        model: str | PathLike[str] | Embedder = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        prefix: str | None = None,
        suffix: str = "",
        progress_bar: bool | None = None,
        normalize_embeddings: bool | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        truncate_dim: int | None = None,
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
        self._encoding = Encoding(
            document_prompt=prefix,
            batch_tokens=batch_tokens,
            normalize=normalize_embeddings,
            truncate_dim=truncate_dim,
            show_progress_bar=progress_bar,
            on_truncate=on_truncate,
        )
        self._suffix = suffix
        self._fields = list(meta_fields_to_embed or [])
        self._separator = embedding_separator

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """The documents with their vectors; one without content has that of its meta data, or of an empty text.

        Returns:
            ``documents``: copies, in input order, each with an ``embedding`` of [dimension].

        Raises:
            InputTypeError: an input is not a Document.
            InputValueError: as ``Embedder.encode_document``.
        """
        texts = [text + self._suffix for text in read_texts(documents, self._fields, self._separator)]
        vectors = self._encoding.documents(self._model(), texts).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments, as a pipeline saves them."""
        return default_to_dict(
            self,
            **self._common(),
            prefix=self._encoding.document_prompt,
            progress_bar=self._encoding.show_progress_bar,
            meta_fields_to_embed=self._fields,
            embedding_separator=self._separator,
        )
