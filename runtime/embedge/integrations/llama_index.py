"""LlamaIndex: ``EmbedgeEmbedding`` for indices, ``EmbedgeRerank`` for what their retrievers find.

    from llama_index.core import Document, VectorStoreIndex
    from embedge.integrations.llama_index import EmbedgeEmbedding, EmbedgeRerank

    documents = [Document(text="Yeast makes dough rise."), Document(text="The bike has a flat tyre.")]
    index = VectorStoreIndex.from_documents(documents, embed_model=EmbedgeEmbedding("bge-small-en-v1.5"))
    nodes = index.as_retriever(similarity_top_k=20).retrieve("how do I bake bread?")
    rerank = EmbedgeRerank("bge-reranker-base", top_n=3)
    reranked = rerank.postprocess_nodes(nodes, query_str="how do I bake bread?")

Their asynchronous twins run in a thread, so that the event loop goes on.
"""

import asyncio
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from embedge import Embedder, InputValueError, OnTruncate, Precision, Reranker
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import Source

with needs_extra("llama-index"):
    from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding, SimilarityMode
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]  # not listed by it
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

_dispatcher = get_dispatcher(__name__)


class EmbedgeEmbedding(BaseEmbedding):
    """Queries and texts to vectors, with the model's own prompts.

    Args:
        model_name: a recipe's name, a hub id, a bundle's path, or an ``Embedder``.
        precision: of the graph, as in ``Embedder``, like the four that follow.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        query_instruction: text put in front of queries; None is the model's own prompt, "" is none.
        text_instruction: text put in front of documents, likewise.
        batch_tokens: as in ``Embedder.encode``, like the three that follow.
        normalize: see ``Embedder.encode``.
        truncate_dim: see ``Embedder.encode``.
        on_truncate: see ``Embedder.encode``.
        embed_batch_size: texts that LlamaIndex hands over at once, 2048 at most; the more of them, the better are
            the batches that embedge makes by tokens.
        num_workers: see LlamaIndex's ``BaseEmbedding``, as for the two that follow.
        embeddings_cache: see ``BaseEmbedding``.
        callback_manager: see ``BaseEmbedding``.

    Raises:
        EmbedgeError: as ``Embedder`` does.
    """

    precision: Precision | None = Field(default=None, description="Precision of the graph.")
    providers: Sequence[str] | None = Field(default=None, description="ONNX Runtime execution providers.")
    threads: int | None = Field(default=None, description="Most cores to use.")
    cache_dir: str | None = Field(default=None, description="Where bundles are kept.")
    local_files_only: bool = Field(default=False, description="Never touch the network.")
    query_instruction: str | None = Field(default=None, description="Text put in front of queries.")
    text_instruction: str | None = Field(default=None, description="Text put in front of documents.")
    batch_tokens: int | None = Field(default=None, description="Token budget of one session run.")
    normalize: bool | None = Field(default=None, description="Scale vectors to length 1; the model's own way if None.")
    truncate_dim: int | None = Field(default=None, description="Keep the first so many dimensions.")
    on_truncate: OnTruncate = Field(default="warn", description="What to do about texts that are too long.")
    _embedder: Embedder = PrivateAttr()

    def __init__(
        self,
        model_name: str | PathLike[str] | Embedder = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        query_instruction: str | None = None,
        text_instruction: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        on_truncate: OnTruncate = "warn",
        embed_batch_size: int = 1024,
        num_workers: int | None = None,
        embeddings_cache: Any | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        source = Source(
            model=model_name,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        fields = source.config() | {
            "query_instruction": query_instruction,
            "text_instruction": text_instruction,
            "batch_tokens": batch_tokens,
            "normalize": normalize,
            "truncate_dim": truncate_dim,
            "on_truncate": on_truncate,
            "embed_batch_size": embed_batch_size,
            "num_workers": num_workers,
            "embeddings_cache": embeddings_cache,
            "callback_manager": callback_manager or CallbackManager([]),
        }
        super().__init__(model_name=fields.pop("model"), **fields)
        self._embedder = source.open(Embedder)

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex serialises it by."""
        return "EmbedgeEmbedding"

    def _encoding(self) -> Encoding:
        return Encoding(
            query_prompt=self.query_instruction,
            document_prompt=self.text_instruction,
            batch_tokens=self.batch_tokens,
            normalize=self.normalize,
            truncate_dim=self.truncate_dim,
            show_progress_bar=False,  # LlamaIndex has its own
            on_truncate=self.on_truncate,
        )

    def similarity(
        self, embedding1: Embedding, embedding2: Embedding, mode: SimilarityMode = SimilarityMode.DEFAULT
    ) -> float:
        """How alike two vectors are, by ``mode``; by default as the model has it, see ``Embedder.similarity``."""
        if mode != SimilarityMode.DEFAULT:
            return super().similarity(embedding1, embedding2, mode)
        return float(self._embedder.similarity(np.asarray(embedding1), np.asarray(embedding2))[0, 0])

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._encoding().query(self._embedder, query)

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._encoding().documents(self._embedder, texts).tolist()  # type: ignore[no-any-return]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


class EmbedgeRerank(BaseNodePostprocessor):
    """The best of what a retriever found, best first, with the reranker's scores.

    Args:
        model: a recipe's name, a hub id, a bundle's path, or a ``Reranker``.
        top_n: how many nodes to return.
        precision: of the graph, as in ``Reranker``, like the four that follow.
        providers: see ``Reranker``.
        threads: see ``Reranker``.
        cache_dir: see ``Reranker``.
        local_files_only: see ``Reranker``.
        normalize: scores between 0 and 1, by the sigmoid; otherwise they are logits.
        batch_tokens: as in ``Reranker.rank``.
        on_truncate: see ``Reranker.rank``.
        keep_retrieval_score: put the retriever's score into the metadata, as ``retrieval_score``.
        callback_manager: see LlamaIndex's ``BaseNodePostprocessor``.

    Raises:
        EmbedgeError: as ``Reranker`` does.
    """

    model: str = Field(description="Name or path of the reranker.")
    top_n: int = Field(default=2, ge=1, description="How many nodes to return.")
    precision: Precision | None = Field(default=None, description="Precision of the graph.")
    providers: Sequence[str] | None = Field(default=None, description="ONNX Runtime execution providers.")
    threads: int | None = Field(default=None, description="Most cores to use.")
    cache_dir: str | None = Field(default=None, description="Where bundles are kept.")
    local_files_only: bool = Field(default=False, description="Never touch the network.")
    normalize: bool = Field(default=True, description="Scores between 0 and 1.")
    batch_tokens: int | None = Field(default=None, description="Token budget of one session run.")
    on_truncate: OnTruncate = Field(default="warn", description="What to do about pairs that are too long.")
    keep_retrieval_score: bool = Field(default=False, description="Put the retriever's score into the metadata.")
    _reranker: Reranker = PrivateAttr()

    def __init__(
        self,
        model: str | PathLike[str] | Reranker = "bge-reranker-base",
        *,
        top_n: int = 2,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        normalize: bool = True,
        batch_tokens: int | None = None,
        on_truncate: OnTruncate = "warn",
        keep_retrieval_score: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        source = Source(
            model=model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        fields = source.config() | {
            "top_n": top_n,
            "normalize": normalize,
            "batch_tokens": batch_tokens,
            "on_truncate": on_truncate,
            "keep_retrieval_score": keep_retrieval_score,
            "callback_manager": callback_manager or CallbackManager([]),
        }
        super().__init__(**fields)
        self._reranker = source.open(Reranker)

    @classmethod
    def class_name(cls) -> str:
        """The name that LlamaIndex serialises it by."""
        return "EmbedgeRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputValueError("reranking needs the query, found none; give query_str= or query_bundle=")
        query = query_bundle.query_str
        _dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            best = self._rank(nodes, query)
            event.on_end(payload={EventPayload.NODES: best})
        _dispatcher.event(ReRankEndEvent(nodes=best))
        return best

    def _rank(self, nodes: list[NodeWithScore], query: str) -> list[NodeWithScore]:
        ranked = self._reranker.rank(
            query,
            [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes],
            top_k=self.top_n,
            normalize=self.normalize,
            batch_tokens=self.batch_tokens,
            on_truncate=self.on_truncate,
        )
        return [self._scored(nodes[index], score) for index, score in ranked]

    def _scored(self, found: NodeWithScore, score: float) -> NodeWithScore:
        """A copy with the reranker's score: the original may be in an index."""
        node = found.node
        if self.keep_retrieval_score:
            node = node.model_copy(update={"metadata": {**node.metadata, "retrieval_score": found.score}})
        return NodeWithScore(node=node, score=score)
