"""The component that reranks documents."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from haystack import Document, component, default_to_dict

from embedge import OnTruncate, Precision, Reranker
from embedge.inference.options import check_count
from embedge.inference.providers import ProviderArgument
from embedge.integrations.haystack.common import MODULE, Component, read_texts
from embedge.integrations.source import ModelSource


@component
class EmbedgeRanker(Component[Reranker]):
    """Returns the documents that answer a query best, best first: copies, with the reranker's score.

    Args:
        model: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Reranker``, whose path a saved
            pipeline stores.
        top_k: how many documents to return.
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
        meta_fields_to_embed: names of metadata fields to put in front of the content, if a document has them.
        embedding_separator: text between the metadata fields and the content.
        scale_score: return scores between 0 and 1, by the sigmoid; False returns logits.
        score_threshold: leave out documents with a lower score.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        on_truncate: what to do if a pair is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.

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
        device: str | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        kernels: bool | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        scale_score: bool = True,
        score_threshold: float | None = None,
        batch_tokens: int | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> None:
        self._source = ModelSource(
            model=model,
            precision=precision,
            device=device,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            kernels=kernels,
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
        """Return the best documents. For arguments that are None the constructor's are used.

        Returns:
            ``documents``: copies, best first, each with a ``score``.

        Raises:
            InputTypeError: an input is not a Document.
            InputValueError: the errors of ``Reranker.rank``.
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
        """Return the constructor's arguments, for a saved pipeline."""
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
