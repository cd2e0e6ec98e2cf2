"""The further outputs of an embedding model such as bge-m3: sparse and multi-vector, alone or all in one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, overload

from embedge.embed_jobs import EmbedJobs
from embedge.inference.input_texts import check_iterable
from embedge.inference.options import OnTruncate, OutputPrecision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.inference.embeddings import Embedding, Embeddings
    from embedge.inference.jobs import Job
    from embedge.inference.sparse import SparseVector

    class TextOptions(TypedDict, total=False):
        """Keywords of ``encode_sparse`` and ``encode_multi_vector``, for their overloads."""

        prompt: str | None
        prompt_name: str | None
        batch_tokens: int | None
        show_progress_bar: bool | None
        on_truncate: OnTruncate

    class AllOptions(TextOptions, total=False):
        """Keywords of ``encode_all``, for its overloads."""

        dense: bool
        sparse: bool
        multi_vector: bool
        normalize: bool | None
        truncate_dim: int | None
        precision: OutputPrecision


_CHARACTERS = 65_536  # of the texts of a window with multi-vectors


class Heads(EmbedJobs):
    """The methods of ``Embedder`` that read more of a graph than its hidden states."""

    @overload
    def encode_sparse(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, **options: Unpack[TextOptions]
    ) -> SparseVector: ...
    @overload
    def encode_sparse(self, texts: Iterable[str], **options: Unpack[TextOptions]) -> list[SparseVector]: ...
    def encode_sparse(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> SparseVector | list[SparseVector]:
        """Return the lexical weights of texts as sparse vectors, in input order. Few models have them: bge-m3 does.

        The vector has one weight for each token of the text except special tokens: the largest that the token has
        anywhere in the text. FlagEmbedding calls it ``lexical_weights``. The score of two texts is
        ``first.dot(second)``.

        Args:
            texts: one string, or an iterable of strings.
            prompt: see ``encode``.
            prompt_name: see ``encode``.
            batch_tokens: see ``encode``.
            show_progress_bar: see ``encode``.
            on_truncate: see ``encode``.

        Returns:
            A list with one sparse vector for each text; one sparse vector for one string.

        Raises:
            BundleError: the model has no lexical weights.
            InputTypeError: as for ``encode``.
            InputValueError: as for ``encode``.
        """
        job, is_single = self._sparse_job(
            texts,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        vectors = self._engine.run(job)
        return vectors[0] if is_single else vectors

    @overload
    def encode_multi_vector(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, **options: Unpack[TextOptions]
    ) -> NDArray[np.float32]: ...
    @overload
    def encode_multi_vector(
        self, texts: Iterable[str], **options: Unpack[TextOptions]
    ) -> list[NDArray[np.float32]]: ...
    def encode_multi_vector(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return a vector for each token of texts, in input order; for models that have them, such as bge-m3.

        Every token except the first has a vector, the special token at the end included. FlagEmbedding calls them
        ``colbert_vecs``. The score of two texts is ``embedge.max_similarity``.

        Args:
            texts: one string, or an iterable of strings.
            prompt: see ``encode``.
            prompt_name: see ``encode``.
            batch_tokens: see ``encode``.
            show_progress_bar: see ``encode``.
            on_truncate: see ``encode``.

        Returns:
            A list with one array for each text, float32 [tokens - 1, dimension], each row of length 1 (L2); one array
            for one string.

        Raises:
            BundleError: the model has no token vectors.
            InputTypeError: as for ``encode``.
            InputValueError: as for ``encode``.
        """
        job, is_single = self._multi_vector_job(
            texts,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        vectors = self._engine.run(job)
        return vectors[0] if is_single else vectors

    @overload
    def encode_all(  # type: ignore[overload-overlap]  # a str is an iterable of str
        self, texts: str, **options: Unpack[AllOptions]
    ) -> Embedding: ...
    @overload
    def encode_all(self, texts: Iterable[str], **options: Unpack[AllOptions]) -> Embeddings: ...
    def encode_all(
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
        """Return several kinds of vectors of texts from one run of the model, for models such as bge-m3.

        On a CPU the vectors are bitwise those of ``encode``, ``encode_sparse`` and ``encode_multi_vector``, each of
        which runs the whole model. This is ``encode`` of FlagEmbedding's ``BGEM3FlagModel``, whose ``return_dense``,
        ``return_sparse`` and ``return_colbert_vecs`` are ``dense``, ``sparse`` and ``multi_vector`` here.
        ``embedge.hybrid_score`` compares two texts by all kinds.

        Args:
            texts: one string, or an iterable of strings.
            dense: whether to return dense vectors.
            sparse: whether to return lexical weights.
            multi_vector: whether to return a vector for each token; they take 4 KB for each token of bge-m3.
            prompt: see ``encode``.
            prompt_name: see ``encode``.
            batch_tokens: see ``encode``.
            normalize: see ``encode``; for dense vectors only.
            truncate_dim: see ``encode``; for dense vectors only.
            precision: see ``encode``; for dense vectors only.
            show_progress_bar: see ``encode``.
            on_truncate: see ``encode``.

        Returns:
            ``Embeddings`` with a column for each kind; the ``Embedding`` of one string.

        Raises:
            BundleError: the model has no lexical weights or no multi-vectors, and they are asked for.
            InputTypeError: as for ``encode``.
            InputValueError: as for ``encode``; or no kind is asked for.
        """
        job, is_single = self._all_job(
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
        found = self._engine.run(job)
        return found[0] if is_single else found

    def _stream_all(
        self,
        texts: Iterable[str],
        *,
        dense: bool,
        sparse: bool,
        multi_vector: bool,
        prompt: str | None,
        truncate_dim: int | None,
        precision: Literal["float32", "binary", "ubinary"],
    ) -> Iterator[Embedding]:
        """Yield several kinds of vectors of texts one by one, in input order; for the command.

        With multi-vectors, which take 4 KB for each token of bge-m3, a window has some 16,000 tokens.
        """
        kinds = self._kinds(dense=dense, sparse=sparse, multi_vector=multi_vector)
        options, _ = self._stream_options(
            window=None,
            prompt=prompt,
            prompt_name=None,
            batch_tokens=None,
            normalize=None,
            truncate_dim=truncate_dim,
            precision=precision,
            on_truncate="warn",
        )
        from embedge.inference.engine import windows

        engine = self._engine
        truncation = engine.jobs.truncation(options.call)
        source = windows(
            check_iterable(texts), engine.schedule.window, characters=_CHARACTERS if multi_vector else None
        )

        def make_job(start: int, window: list[str]) -> Job[Embeddings]:
            return engine.jobs.all_kinds(window, options, kinds, start=start, truncation=truncation)

        return engine.stream_jobs(source, make_job, truncation)
