"""Haystack 2: ``EmbedgeTextEmbedder``, ``EmbedgeDocumentEmbedder`` and ``EmbedgeRanker``.

    from haystack import Document
    from embedge.integrations.haystack import EmbedgeDocumentEmbedder, EmbedgeTextEmbedder

    documents = [Document(content="Yeast makes dough rise."), Document(content="The bike has a flat tyre.")]
    embedded = EmbedgeDocumentEmbedder(model="bge-small-en-v1.5").run(documents)["documents"]
    vector = EmbedgeTextEmbedder(model="bge-small-en-v1.5").run("how do I bake bread?")["embedding"]

The model is loaded by ``warm_up``, which a pipeline calls, or by the first ``run``. Options are named as in Haystack's
own embedders and rankers; only ``precision`` is the graph's, as everywhere in embedge. Haystack loads a saved pipeline
whose components it is told to trust: ``Pipeline.load(file, allowed_modules=["embedge.integrations.haystack"])``.
"""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, Self

from embedge import Embedder, OnTruncate, Precision, Reranker, TextTypeError
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import Source
from embedge.options import check_count

with needs_extra("haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict


class _Component:
    """What all three do with their source; Haystack makes its classes anew, so no ``super()`` in them."""

    _source: Source

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The component that ``to_dict`` was called on."""
        return default_from_dict(cls, data)


class _EmbedderComponent(_Component):
    _encoding: Encoding
    _suffix: str
    _loaded: Embedder | None = None

    def warm_up(self) -> None:
        """Loads the model, once; raises as ``Embedder`` does."""
        self._embedder()

    def _embedder(self) -> Embedder:
        if self._loaded is None:
            self._loaded = self._source.open(Embedder)
        return self._loaded

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
        normalize_embeddings: scale vectors to length 1.
        truncate_dim: as in ``Embedder.encode``, like the two that follow.
        batch_tokens: see ``Embedder.encode``.
        on_truncate: see ``Embedder.encode``.
    """

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
        normalize_embeddings: bool = True,
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
            TextTypeError: the text is not a string.
            TextValueError: as ``Embedder.encode_query``.
        """
        if not isinstance(text, str):
            found = type(text).__name__
            raise TextTypeError(f"text must be a string, found {found}; EmbedgeDocumentEmbedder takes Documents")
        return {"embedding": self._encoding.query(self._embedder(), text + self._suffix)}

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
        normalize_embeddings: bool = True,
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
            TextTypeError: an input is not a Document.
            TextValueError: as ``Embedder.encode_document``.
        """
        texts = [text + self._suffix for text in _texts(documents, self._fields, self._separator)]
        vectors = self._encoding.documents(self._embedder(), texts).tolist()
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


@component
class EmbedgeRanker(_Component):
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
        TextValueError: ``top_k`` is less than 1.
    """

    _loaded: Reranker | None = None

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

    def warm_up(self) -> None:
        """Loads the model, once; raises as ``Reranker`` does."""
        self._reranker()

    def _reranker(self) -> Reranker:
        if self._loaded is None:
            self._loaded = self._source.open(Reranker)
        return self._loaded

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
            TextTypeError: an input is not a Document.
            TextValueError: as ``Reranker.rank``.
        """
        threshold = self._score_threshold if score_threshold is None else score_threshold
        ranked = self._reranker().rank(
            query,
            _texts(documents, self._fields, self._separator),
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


def _texts(documents: list[Document], fields: list[str], separator: str) -> list[str]:
    """What is read of each document: the meta data asked for, where it has them, and its content."""
    texts = []
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise TextTypeError(f"document {index} must be a haystack Document, found {type(document).__name__}")
        meta = [str(document.meta[name]) for name in fields if document.meta.get(name) is not None]
        texts.append(separator.join([*meta, document.content or ""]))
    return texts
