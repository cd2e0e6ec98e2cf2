"""LlamaIndex: ``EmbedgeEmbedding`` for indices, and ``EmbedgeRerank`` to rerank what a retriever returns.

    from llama_index.core import Document, VectorStoreIndex
    from embedge.integrations.llama_index import EmbedgeEmbedding, EmbedgeRerank

    documents = [Document(text="Yeast makes dough rise."), Document(text="The bike has a flat tyre.")]
    index = VectorStoreIndex.from_documents(documents, embed_model=EmbedgeEmbedding("bge-small-en-v1.5"))
    nodes = index.as_retriever(similarity_top_k=20).retrieve("how do I bake bread?")
    rerank = EmbedgeRerank("bge-reranker-base", top_n=3)
    reranked = rerank.postprocess_nodes(nodes, query_str="how do I bake bread?")

The asynchronous methods run the work in a thread and do not block the event loop.
"""

import asyncio
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from embedge import Embedder, InputValueError, OnTruncate, Precision, Reranker
from embedge.inference.providers import ProviderArgument
from embedge.integrations.encoding import Encoding
from embedge.integrations.extra import needs_extra
from embedge.integrations.source import ModelSource

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
    """Embeds queries and texts, each with the model's own prompt.

    Args:
        model_name: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Embedder``.
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
        query_instruction: text that is put in front of each query; None uses the model's own prompt, "" uses none.
        text_instruction: text that is put in front of each document; None uses the model's own, "" uses none.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        normalize: scale vectors to length 1; None does what the model was trained for.
        truncate_dim: keep only the first dimensions, this many; None keeps all.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.
        embed_batch_size: how many texts LlamaIndex passes in one call, 2048 at most. embedge makes its own batches, by
            tokens; they are better the more texts it can choose from.
        num_workers: for LlamaIndex's ``BaseEmbedding``, as are the next two.
        embeddings_cache: see ``BaseEmbedding``.
        callback_manager: see ``BaseEmbedding``.

    Raises:
        EmbedgeError: the model cannot be loaded; see ``Embedder``.
    """

    precision: Precision | None = Field(default=None, description="Precision of the graph.")
    device: str | None = Field(default=None, description="What the model runs on: cpu, cuda or cuda:1.")
    providers: Sequence[ProviderArgument] | None = Field(
        default=None, description="ONNX Runtime execution providers, by name or with options."
    )
    threads: int | None = Field(default=None, description="The largest number of cores to use.")
    cache_dir: str | None = Field(default=None, description="The folder of downloaded bundles.")
    local_files_only: bool = Field(default=False, description="Never use the network.")
    kernels: bool | None = Field(default=None, description="Whether to run int8 with embedge-kernels.")
    query_instruction: str | None = Field(default=None, description="Text that is put in front of each query.")
    text_instruction: str | None = Field(default=None, description="Text that is put in front of each document.")
    batch_tokens: int | None = Field(default=None, description="Token budget of one session run.")
    normalize: bool | None = Field(default=None, description="Scale vectors to length 1; None: as trained.")
    truncate_dim: int | None = Field(default=None, description="Keep only the first dimensions, this many.")
    on_truncate: OnTruncate = Field(default="warn", description="What to do if a text is too long.")
    _embedder: Embedder = PrivateAttr()

    def __init__(
        self,
        model_name: str | PathLike[str] | Embedder = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
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
        source = ModelSource(
            model=model_name,
            precision=precision,
            device=device,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            kernels=kernels,
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
        """The name by which LlamaIndex serialises this class."""
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
        """The similarity of two vectors by ``mode``; by default by the measure that the model was trained for."""
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
    """Returns the nodes that answer a query best, best first, with the reranker's scores.

    Args:
        model: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Reranker``.
        top_n: how many nodes to return.
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
        keep_retrieval_score: store the retriever's score in the metadata, as ``retrieval_score``.
        callback_manager: for LlamaIndex's ``BaseNodePostprocessor``.

    Raises:
        EmbedgeError: the model cannot be loaded; see ``Reranker``.
    """

    model: str = Field(description="Name or path of the reranker.")
    top_n: int = Field(default=2, ge=1, description="How many nodes to return.")
    precision: Precision | None = Field(default=None, description="Precision of the graph.")
    device: str | None = Field(default=None, description="What the model runs on: cpu, cuda or cuda:1.")
    providers: Sequence[ProviderArgument] | None = Field(
        default=None, description="ONNX Runtime execution providers, by name or with options."
    )
    threads: int | None = Field(default=None, description="The largest number of cores to use.")
    cache_dir: str | None = Field(default=None, description="The folder of downloaded bundles.")
    local_files_only: bool = Field(default=False, description="Never use the network.")
    kernels: bool | None = Field(default=None, description="Whether to run int8 with embedge-kernels.")
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
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
        normalize: bool = True,
        batch_tokens: int | None = None,
        on_truncate: OnTruncate = "warn",
        keep_retrieval_score: bool = False,
        callback_manager: CallbackManager | None = None,
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
        """The name by which LlamaIndex serialises this class."""
        return "EmbedgeRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputValueError("reranking needs the query, found none; pass query_str= or query_bundle=")
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

    def _scored(self, retrieved: NodeWithScore, score: float) -> NodeWithScore:
        """Return a copy with the reranker's score; the original may be part of an index."""
        node = retrieved.node
        if self.keep_retrieval_score:
            node = node.model_copy(update={"metadata": {**node.metadata, "retrieval_score": retrieved.score}})
        return NodeWithScore(node=node, score=score)
