"""AsyncEmbedder: an Embedder whose methods are coroutines, and whose callers share batches."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from embedge.async_model import MAX_WAITING_TEXTS, MAX_WAITING_TOKENS, AsyncModel
from embedge.bundle.manifest import Precision
from embedge.embedder import Embedder
from embedge.inference.options import OnTruncate, OutputPrecision
from embedge.inference.providers import ProviderArgument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.heads import AllOptions, TextOptions
    from embedge.inference.embeddings import Embedding, Embeddings
    from embedge.inference.sparse import SparseVector


class AsyncEmbedder(AsyncModel[Embedder]):
    """An ``Embedder`` for asyncio: the same methods as coroutines, which never block the event loop.

    A request starts at once if a core is idle. While all cores are busy, texts of different requests that have the same
    number of tokens share a batch. On the CPU, a vector is the same, bit for bit, as that of ``Embedder.encode``.

    Close it with ``async with`` or ``close``, which lets the requests that were made end.

    Args:
        model: see ``Embedder``.
        precision: see ``Embedder``.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        device: see ``Embedder``.
        kernels: see ``Embedder``.
        max_waiting_texts: the largest number of texts that may wait for a core. A request beyond it raises
            ``OverloadedError``. While no other text waits, a request may have any size.
        max_waiting_tokens: the largest number of tokens of these texts.

    Loading blocks, as for ``Embedder``: make it before the event loop starts, or in ``asyncio.to_thread``. Several
    event loops, on several threads, may use it. It can be pickled as an ``Embedder`` can; the copy has a queue of its
    own. A forked child may use it on a CPU, in an event loop of its own; it has none of its parent's requests.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        device: str | None = None,
        kernels: bool | None = None,
        max_waiting_texts: int = MAX_WAITING_TEXTS,
        max_waiting_tokens: int = MAX_WAITING_TOKENS,
    ) -> None:
        embedder = Embedder(
            model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            device=device,
            kernels=kernels,
        )
        super().__init__(embedder, max_waiting_texts=max_waiting_texts, max_waiting_tokens=max_waiting_tokens)

    @classmethod
    def from_embedder(
        cls,
        embedder: Embedder,
        *,
        max_waiting_texts: int = MAX_WAITING_TEXTS,
        max_waiting_tokens: int = MAX_WAITING_TOKENS,
    ) -> Self:
        """Return an ``AsyncEmbedder`` that runs on a loaded embedder's sessions; both may be used."""
        return cls._of(embedder, max_waiting_texts=max_waiting_texts, max_waiting_tokens=max_waiting_tokens)

    @property
    def embedder(self) -> Embedder:
        """The embedder that does the work, with the methods that take no time: ``similarity``, ``count_tokens``."""
        return self._model

    @property
    def dimension(self) -> int:
        """Number of elements of a vector, before ``truncate_dim``."""
        return self._model.dimension

    @property
    def prompts(self) -> Mapping[str, str]:
        """The texts to put in front of an input, by name; see ``Embedder.prompts``."""
        return self._model.prompts

    async def encode(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: OutputPrecision = "float32",
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
        batch_size: int | None = None,
        normalize_embeddings: bool | None = None,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | None = None,
    ) -> NDArray[Any]:
        """Return the vectors of texts, in input order; see ``Embedder.encode`` for the arguments.

        Raises:
            InputTypeError: as for ``Embedder.encode``.
            InputValueError: as for ``Embedder.encode``.
            OverloadedError: too many texts or tokens wait already.
            RuntimeError: the model is closed.
        """
        job, is_single = self._model._vector_job(
            texts,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
            batch_size=batch_size,
            normalize_embeddings=normalize_embeddings,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
        )
        vectors = await self._run(job)
        return vectors[0] if is_single else vectors

    async def encode_query(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: OutputPrecision = "float32",
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
        batch_size: int | None = None,
        normalize_embeddings: bool | None = None,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | None = None,
    ) -> NDArray[Any]:
        """Return the vectors of queries: ``encode`` with the model's query prompt, if it has one. See ``encode``."""
        return await self.encode(
            texts,
            prompt=self._model._kind_prompt("query", prompt, prompt_name),
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
            batch_size=batch_size,
            normalize_embeddings=normalize_embeddings,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
        )

    async def encode_document(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: OutputPrecision = "float32",
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
        batch_size: int | None = None,
        normalize_embeddings: bool | None = None,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | None = None,
    ) -> NDArray[Any]:
        """Return the vectors of documents: ``encode`` with the document prompt, which BGE lacks. See ``encode``."""
        return await self.encode(
            texts,
            prompt=self._model._kind_prompt("document", prompt, prompt_name),
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
            batch_size=batch_size,
            normalize_embeddings=normalize_embeddings,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
        )

    def stream(
        self,
        texts: Iterable[str] | AsyncIterable[str],
        *,
        window: int | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: Literal["float32", "binary", "ubinary"] = "float32",
        on_truncate: OnTruncate = "warn",
    ) -> AsyncIterator[NDArray[Any]]:
        """Yield the vectors of texts one by one, in input order; see ``Embedder.stream`` for the arguments.

        ``texts`` may also be an async iterable. A plain one is read in the event loop, ``window`` texts at a time; if
        reading it takes long, pass an async one. The first window raises ``OverloadedError`` if too many texts wait.
        Later ones wait for room instead.
        """
        options, count = self._model._stream_options(
            window=window,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            on_truncate=on_truncate,
        )
        from embedge.inference.scheduler.windows import stream_vectors

        return stream_vectors(self._scheduler, self._model._engine, texts, count, options)

    @overload
    async def encode_sparse(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, **options: Unpack[TextOptions]
    ) -> SparseVector: ...
    @overload
    async def encode_sparse(self, texts: Iterable[str], **options: Unpack[TextOptions]) -> list[SparseVector]: ...
    async def encode_sparse(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> SparseVector | list[SparseVector]:
        """Return the lexical weights of texts; see ``Embedder.encode_sparse``; raises as ``encode``."""
        job, is_single = self._model._sparse_job(
            texts,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        vectors = await self._run(job)
        return vectors[0] if is_single else vectors

    @overload
    async def encode_multi_vector(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, **options: Unpack[TextOptions]
    ) -> NDArray[np.float32]: ...
    @overload
    async def encode_multi_vector(
        self, texts: Iterable[str], **options: Unpack[TextOptions]
    ) -> list[NDArray[np.float32]]: ...
    async def encode_multi_vector(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return a vector for each token of texts; see ``Embedder.encode_multi_vector``; raises as ``encode``."""
        job, is_single = self._model._multi_vector_job(
            texts,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        vectors = await self._run(job)
        return vectors[0] if is_single else vectors

    @overload
    async def encode_all(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, **options: Unpack[AllOptions]
    ) -> Embedding: ...
    @overload
    async def encode_all(self, texts: Iterable[str], **options: Unpack[AllOptions]) -> Embeddings: ...
    async def encode_all(
        self,
        texts: str | Iterable[str],
        *,
        dense: bool = True,
        sparse: bool = True,
        multi_vector: bool = False,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: OutputPrecision = "float32",
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> Embedding | Embeddings:
        """Return several kinds of vectors of texts from one run; see ``Embedder.encode_all``; raises as ``encode``."""
        job, is_single = self._model._all_job(
            texts,
            dense=dense,
            sparse=sparse,
            multi_vector=multi_vector,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        found = await self._run(job)
        return found[0] if is_single else found
