"""The components that embed queries and documents."""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from haystack import Document, component, default_to_dict

from embedge import Embedder, InputTypeError, OnTruncate, Precision
from embedge.inference.providers import ProviderArgument
from embedge.integrations.encoding import Encoding
from embedge.integrations.haystack.common import MODULE, Component, read_texts
from embedge.integrations.source import ModelSource


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
    """Embeds a query.

    Args:
        model: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Embedder``, whose path a saved
            pipeline stores.
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
        prefix: text that is put in front of the query; None uses the model's query prompt, "" uses none.
        suffix: text that is put after the query.
        normalize_embeddings: scale vectors to length 1; None does what the model was trained for.
        truncate_dim: keep only the first dimensions, this many; None keeps all.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.
    """

    __module__ = MODULE

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
        prefix: str | None = None,
        suffix: str = "",
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
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
        """Embed a query.

        Returns:
            ``embedding``: [dimension].

        Raises:
            InputTypeError: the text is not a string.
            InputValueError: the errors of ``Embedder.encode_query``.
        """
        if not isinstance(text, str):
            found = type(text).__name__
            raise InputTypeError(f"text must be a string, found {found}; EmbedgeDocumentEmbedder takes Documents")
        return {"embedding": self._encoding.query(self._model(), text + self._suffix)}

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments, for a saved pipeline."""
        return default_to_dict(self, **self._common(), prefix=self._encoding.query_prompt)


@component
class EmbedgeDocumentEmbedder(_EmbedderComponent):
    """Embeds documents; returns copies with their vectors.

    Args:
        model: the name of a recipe, a hub id, the path of a bundle, or a loaded ``Embedder``, whose path a saved
            pipeline stores.
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
        prefix: text that is put in front of each document; None uses the model's document prompt, "" uses none. BGE
            models have no document prompt.
        suffix: text that is put after each document.
        progress_bar: show a progress bar on stderr; None shows one if the work is long and stderr is a terminal.
        normalize_embeddings: scale vectors to length 1; None does what the model was trained for.
        meta_fields_to_embed: names of metadata fields to put in front of the content, if a document has them.
        embedding_separator: text between the metadata fields and the content.
        truncate_dim: keep only the first dimensions, this many; None keeps all.
        batch_tokens: how many tokens run through the model at once; None is a good value for the device.
        on_truncate: what to do if a text is longer than the model reads: ``"warn"``, ``"ignore"`` or ``"error"``.
    """

    __module__ = MODULE

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
        """Embed documents. One without content has the vector of its metadata fields, or of an empty text.

        Returns:
            ``documents``: copies, in input order, each with an ``embedding`` of [dimension].

        Raises:
            InputTypeError: an input is not a Document.
            InputValueError: the errors of ``Embedder.encode_document``.
        """
        texts = [text + self._suffix for text in read_texts(documents, self._fields, self._separator)]
        vectors = self._encoding.documents(self._model(), texts).tolist()
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}

    def to_dict(self) -> dict[str, Any]:
        """Return the constructor's arguments, for a saved pipeline."""
        return default_to_dict(
            self,
            **self._common(),
            prefix=self._encoding.document_prompt,
            progress_bar=self._encoding.show_progress_bar,
            meta_fields_to_embed=self._fields,
            embedding_separator=self._separator,
        )
