"""LangChain: ``EmbedgeEmbeddings`` for vector stores, ``EmbedgeRerank`` for what they find.

    from langchain_core.vectorstores import InMemoryVectorStore
    from embedge.integrations.langchain import EmbedgeEmbeddings, EmbedgeRerank

    store = InMemoryVectorStore(EmbedgeEmbeddings(model="bge-small-en-v1.5"))
    store.add_texts(["Yeast makes dough rise.", "The bike has a flat tyre."])
    found = store.similarity_search("how do I bake bread?", k=20)
    compressor = EmbedgeRerank(model="bge-reranker-base", top_n=3)
    reranked = compressor.compress_documents(found, "how do I bake bread?")

Their asynchronous twins (``aembed_query``, ``acompress_documents`` ...) are LangChain's own: they run in its executor,
so that the event loop goes on.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from embedge import Embedder, OnTruncate, Precision, Reranker
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import Source

with needs_extra("langchain"):
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.embeddings import Embeddings
    from pydantic import ConfigDict, Field, PrivateAttr


class EmbedgeEmbeddings(Embeddings):
    """Queries and documents to vectors, with the model's own prompts.

    Args:
        model: a recipe's name, a hub id, a bundle's path, or an ``Embedder``.
        precision: of the graph, as in ``Embedder``, like the four that follow.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        query_prompt: text put in front of queries; None is the model's own, "" is none.
        document_prompt: text put in front of documents, likewise.
        batch_tokens: as in ``Embedder.encode``, like all that follow.
        normalize: see ``Embedder.encode``.
        truncate_dim: see ``Embedder.encode``.
        show_progress_bar: see ``Embedder.encode``; never for a query.
        on_truncate: see ``Embedder.encode``.

    Raises:
        EmbedgeError: as ``Embedder`` does.
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
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> None:
        self._encoding = Encoding(
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        self._embedder = Source(
            model=model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        ).open(Embedder)

    def __repr__(self) -> str:
        return f"EmbedgeEmbeddings({self._embedder!r})"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts to be found, [n, dimension]; raises as ``Embedder.encode_document``."""
        return self._encoding.documents(self._embedder, texts).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, [dimension]; raises as ``Embedder.encode_query``."""
        return self._encoding.query(self._embedder, text)


class EmbedgeRerank(BaseDocumentCompressor):
    """The best of what a retriever found, best first: copies, with ``relevance_score`` in the metadata.

    Attributes:
        model: a recipe's name, a hub id, a bundle's path, or a ``Reranker``.
        top_n: how many documents to return; None returns all.
        precision: of the graph, as in ``Reranker``, like the four that follow.
        providers: see ``Reranker``.
        threads: see ``Reranker``.
        cache_dir: see ``Reranker``.
        local_files_only: see ``Reranker``.
        normalize: scores between 0 and 1, by the sigmoid; otherwise they are logits.
        batch_tokens: as in ``Reranker.rank``.
        on_truncate: see ``Reranker.rank``.

    Raises:
        EmbedgeError: as ``Reranker`` does.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    model: str | PathLike[str] | Reranker = "bge-reranker-base"
    top_n: int | None = Field(default=3, ge=1)
    precision: Precision | None = None
    providers: Sequence[str] | None = None
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    local_files_only: bool = False
    normalize: bool = True
    batch_tokens: int | None = None
    on_truncate: OnTruncate = "warn"
    _reranker: Reranker = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Loads the reranker."""
        self._reranker = Source(
            model=self.model,
            precision=self.precision,
            providers=self.providers,
            threads=self.threads,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
        ).open(Reranker)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The ``top_n`` documents that answer a query best, best first; raises as ``Reranker.rank``."""
        ranked = self._reranker.rank(
            query,
            [document.page_content for document in documents],
            top_k=self.top_n,
            normalize=self.normalize,
            batch_tokens=self.batch_tokens,
            on_truncate=self.on_truncate,
        )
        return [_scored(documents[index], score) for index, score in ranked]


def _scored(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
