"""LangChain: ``EmbedgeEmbeddings`` for vector stores, and ``EmbedgeRerank`` to rerank search results.

    from langchain_core.vectorstores import InMemoryVectorStore
    from embedge.integrations.langchain import EmbedgeEmbeddings, EmbedgeRerank

    store = InMemoryVectorStore(EmbedgeEmbeddings(model="bge-small-en-v1.5"))
    store.add_texts(["Yeast makes dough rise.", "The bike has a flat tyre."])
    candidates = store.similarity_search("how do I bake bread?", k=20)
    compressor = EmbedgeRerank(model="bge-reranker-base", top_n=3)
    reranked = compressor.compress_documents(candidates, "how do I bake bread?")

The asynchronous methods (``aembed_query``, ``acompress_documents`` and so on) are LangChain's. They run the work in a
thread and do not block the event loop.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from embedge import Embedder, OnTruncate, Precision, Reranker
from embedge.inference.providers import ProviderArgument
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource

with needs_extra("langchain"):
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.embeddings import Embeddings
    from pydantic import ConfigDict, Field, PrivateAttr


class EmbedgeEmbeddings(Embeddings):
    """Embeds queries and documents, each with the model's own prompt.

    Args:
        model: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Embedder``.
        precision: ``"int8"``, ``"fp32"`` or ``"fp16"``, the graph's precision; None takes the first that the bundle
            holds, in this order, or on a GPU fp16, then fp32.
        device: what the model runs on: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second GPU; None is the CPU, or
            the first of ``providers``.
        providers: the long form of ``device``: ONNX Runtime execution providers, each a name or a pair of a name and
            its options, such as ``("CUDAExecutionProvider", {"gpu_mem_limit": 2 << 30})``; None
            takes those of ``device``.
        threads: the largest number of cores to use; None uses all that the process may use.
        cache_dir: the folder of downloaded bundles; None is ``$EMBEDGE_HOME``, else the platform's cache folder.
        local_files_only: never use the network.
        kernels: whether to run int8 with the package ``embedge-kernels``; None uses it where it is installed.
        query_prompt: text that is put in front of each query; None uses the model's own prompt, "" uses none.
        document_prompt: text that is put in front of each document; None uses the model's own, "" uses none.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        normalize: scale vectors to length 1; None does what the model was trained for.
        truncate_dim: keep only the first dimensions, this many; None keeps all.
        show_progress_bar: show a progress bar for documents; None shows one if the work is long and stderr is a
            terminal.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.

    Raises:
        EmbedgeError: the model cannot be loaded; see ``Embedder``.
    """

    def __init__(
        self,
        model: str | PathLike[str] | Embedder = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
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
        self._embedder = ModelSource(
            model=model,
            precision=precision,
            device=device,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            kernels=kernels,
        ).open(Embedder)

    def __repr__(self) -> str:
        return f"EmbedgeEmbeddings({self._embedder!r})"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents: [n, dimension]. Raises the errors of ``Embedder.encode_document``."""
        return self._encoding.documents(self._embedder, texts).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """Embed a query: [dimension]. Raises the errors of ``Embedder.encode_query``."""
        return self._encoding.query(self._embedder, text)


class EmbedgeRerank(BaseDocumentCompressor):
    """Returns the documents that answer a query best, best first.

    They are copies of the retriever's documents, with the score as ``relevance_score`` in the metadata.

    Attributes:
        model: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Reranker``.
        top_n: how many documents to return; None returns all.
        precision: ``"int8"``, ``"fp32"`` or ``"fp16"``, the graph's precision; None takes the first that the bundle
            holds, in this order, or on a GPU fp16, then fp32.
        device: what the model runs on: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second GPU; None is the CPU, or
            the first of ``providers``.
        providers: the long form of ``device``: ONNX Runtime execution providers, each a name or a pair of a name and
            its options, such as ``("CUDAExecutionProvider", {"gpu_mem_limit": 2 << 30})``; None
            takes those of ``device``.
        threads: the largest number of cores to use; None uses all that the process may use.
        cache_dir: the folder of downloaded bundles; None is ``$EMBEDGE_HOME``, else the platform's cache folder.
        local_files_only: never use the network.
        kernels: whether to run int8 with the package ``embedge-kernels``; None uses it where it is installed.
        normalize: return scores between 0 and 1, by the sigmoid; False returns logits.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        on_truncate: what to do if a pair is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.

    Raises:
        EmbedgeError: the model cannot be loaded; see ``Reranker``.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    model: str | PathLike[str] | Reranker = "bge-reranker-base"
    top_n: int | None = Field(default=3, ge=1)
    precision: Precision | None = None
    device: str | None = None
    providers: Sequence[ProviderArgument] | None = None
    threads: int | None = None
    cache_dir: str | PathLike[str] | None = None
    local_files_only: bool = False
    kernels: bool | None = None
    normalize: bool = True
    batch_tokens: int | None = None
    on_truncate: OnTruncate = "warn"
    _reranker: Reranker = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load the reranker."""
        self._reranker = ModelSource(
            model=self.model,
            precision=self.precision,
            device=self.device,
            providers=self.providers,
            threads=self.threads,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
            kernels=self.kernels,
        ).open(Reranker)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return the ``top_n`` best documents for a query, best first. Raises the errors of ``Reranker.rank``."""
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
