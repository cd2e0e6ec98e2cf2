"""Embedder: turns texts into vectors. This class checks the options, and its ``Engine`` does the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from embedge.bundle.manifest import Precision, Similarity
from embedge.errors import InputValueError
from embedge.inference.input_texts import check_iterable, check_texts
from embedge.inference.options import (
    RANGED,
    CallOptions,
    OnTruncate,
    OutputPrecision,
    VectorOptions,
    check_count,
    check_prefix,
)
from embedge.inference.providers import ProviderArgument
from embedge.inference.sentence_transformers_keywords import check_arrays, check_device, choose_normalize
from embedge.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.inference.jobs import Job
    from embedge.inference.sparse import SparseVector

    class TextOptions(TypedDict, total=False):
        """Keywords of ``Embedder.encode_sparse`` and ``encode_multi_vector``, for their overloads."""

        prompt: str | None
        prompt_name: str | None
        batch_tokens: int | None
        show_progress_bar: bool | None
        on_truncate: OnTruncate


class Embedder(Model):
    """An embedding model, loaded from a bundle, that turns texts into vectors.

    Args:
        model: a recipe's name, a hub id, or a bundle's path.
        precision: the graph's precision: ``"int8"``, ``"fp32"`` or ``"fp16"``. On the CPU, None takes the first of
            these that the bundle has. On any other device it takes fp16, or fp32 where the bundle has no fp16; if the
            cached bundle has neither, fp16 is downloaded or exported, and the precisions that it has stay.
        providers: the long form of ``device``: ONNX Runtime's execution providers, the preferred one first. Each is a
            name, or a pair of a name and its options: ``("CUDAExecutionProvider", {"gpu_mem_limit": 2 << 30})``. None
            takes those of ``device``.
        threads: the largest number of CPU cores to use. None uses all that this process may use (CPU affinity and
            cgroup quota); a larger number is lowered to that. With a GPU, these cores tokenise.
        cache_dir: folder of the bundles; None means ``$EMBEDGE_HOME``, or else the platform's cache folder.
        local_files_only: never use the network.
        device: what the model runs on: ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second GPU. None means the CPU,
            or the first of ``providers``. A device that is not available is an error; there is no silent fallback.
        kernels: whether to run int8 on the CPU with the kernels of the package ``embedge-kernels``. None uses them if
            they are installed, the bundle has a graph for them, and the environment does not say
            ``EMBEDGE_KERNELS=off``; if they cannot be loaded, it warns and runs the plain graph. False leaves them out.
            With True it is an error if they cannot be used.

    Raises:
        BundleNotFoundError: there is no such bundle; the message says how to get one.
        HubError: the download of the bundle fails, or the hub refuses it.
        BundleCorruptError: a file is not the one that was exported.
        BundleError: the bundle is a reranker; or ``kernels`` is True and the bundle has no graph for them.
        PrecisionNotFoundError: the bundle lacks the precision; the message has the command that adds it.
        ProviderError: a device or provider is not available, did not start, or would leave work to the CPU; or
            ``kernels`` is True and they cannot be loaded.
        MissingExtraError: ``kernels`` is True and they are not installed.
        InputTypeError: an argument has the wrong type.
        InputValueError: ``precision`` is none of the three, ``threads`` is less than 1, there is no such ``device``, or
            ``providers`` do not run on it; or ``kernels`` is True, and the precision or the device is one that they do
            not run.

    Several threads may call it. It can be pickled, as a path and options; the bundle must exist where it is unpickled.
    A forked child may call it on a CPU, as multiprocessing's workers do, and may end as it likes. If your program
    imports onnxruntime before embedge, set ``ORT_DISABLE_TELEMETRY=1`` before that: ONNX Runtime's telemetry makes
    forked children hang or abort when they end.
    """

    _task = "embed"

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
    ) -> None:
        super().__init__(
            model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            device=device,
            kernels=kernels,
        )

    def __repr__(self) -> str:
        return self._describe(f"dimension={self.dimension}")

    @property
    def dimension(self) -> int:
        """Number of elements of a vector, before ``truncate_dim``."""
        return self._manifest.dimension

    @property
    def max_seq_length(self) -> int:
        """sentence-transformers' name of ``max_tokens``. Unlike theirs it cannot be set: the bundle fixes it."""
        return self.max_tokens

    def get_embedding_dimension(self) -> int:
        """sentence-transformers' name of ``dimension``."""
        return self.dimension

    def get_sentence_embedding_dimension(self) -> int:
        """sentence-transformers' older name of ``dimension``."""
        return self.dimension

    @property
    def prompts(self) -> Mapping[str, str]:
        """The texts to put in front of an input, by name: ``query``, ``document`` or a name from the checkpoint."""
        return MappingProxyType(dict(self._manifest.prompts))

    def encode(
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
        """Return the vectors of texts, in input order.

        Args:
            texts: one string, or an iterable of strings that has an order, such as a list or an iterator; not a set or
                a dict. At most 65,536 characters of a text are read (32,768 with a BPE tokenizer), or 12 for each of
                ``max_tokens`` if that is more. A long run of white space or of one letter may count as a short one. A
                longer text is truncated: its vector is that of the characters that are read.
            prompt: text to put in front of every input; ``prompt_name`` is then ignored.
            prompt_name: name of one of ``prompts``. Without both, the checkpoint's default prompt, if it has one.
            batch_tokens: token budget of one session run; None takes a good value for the device.
            normalize: scale vectors to length 1 (L2). None does what the model was trained for: it scales, unless the
                checkpoint has no ``Normalize`` module, as in a few models.
            truncate_dim: return only so many dimensions, the first ones, cut off before the vectors are scaled; for
                models that were trained for it (Matryoshka).
            precision: type of the vectors, as in sentence-transformers: ``"float32"``; ``"int8"`` or ``"uint8"``,
                scaled by each dimension's range in these vectors; ``"binary"`` or ``"ubinary"``, one bit for each
                dimension, eight packed into a byte.
            show_progress_bar: show a progress bar on stderr; None shows one if the work is long and stderr is a
                terminal.
            on_truncate: what to do about texts longer than ``max_tokens``: ``"ignore"``, ``"warn"`` or ``"error"``.
            batch_size: the largest number of texts in one session run; ``batch_tokens`` limits it, too. On the CPU, no
                vector depends on it.
            normalize_embeddings: sentence-transformers' name of ``normalize``. As there, False has no effect on a model
                with a ``Normalize`` module, which scales its vectors in any case.
            convert_to_numpy: sentence-transformers' keyword; must be True, because vectors are numpy arrays.
            convert_to_tensor: sentence-transformers' keyword; must be False.
            device: sentence-transformers' keyword; None, or the model's own device, which you choose when you load it.

        Returns:
            float32 [n, dimension]; [dimension] for one string; [0, dimension] for empty input. ``"int8"`` and
            ``"uint8"`` give that type and the same shape; ``"binary"`` gives int8 and ``"ubinary"`` uint8
            [n, ceil(dimension / 8)].

        Raises:
            InputTypeError: an input is not a string (the message has its index), or an option has the wrong type.
            InputValueError: a string is not valid Unicode, or is too long and ``on_truncate`` is ``"error"``, or an
                option has a wrong value.
        """
        job, is_single = self._vector_job(
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
        vectors = self._engine.run(job)
        return vectors[0] if is_single else vectors

    def encode_query(
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
        return self.encode(
            texts,
            prompt=self._kind_prompt("query", prompt, prompt_name),
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

    def encode_document(
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
        return self.encode(
            texts,
            prompt=self._kind_prompt("document", prompt, prompt_name),
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
        texts: Iterable[str],
        *,
        window: int | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: Literal["float32", "binary", "ubinary"] = "float32",
        on_truncate: OnTruncate = "warn",
    ) -> Iterator[NDArray[Any]]:
        """Yield the vectors of texts one by one, in input order; the texts need not fit in memory.

        Args:
            texts: any iterable of strings that has an order; ``window`` texts are read at a time, when their vectors
                are needed.
            window: how many texts to put into batches together; None takes 1,024 on a CPU and 4,096 on a GPU. On a GPU,
                two windows more are read and tokenised ahead.
            prompt: see ``encode``.
            prompt_name: see ``encode``.
            batch_tokens: see ``encode``.
            normalize: see ``encode``.
            truncate_dim: see ``encode``.
            precision: ``"float32"``, ``"binary"`` or ``"ubinary"``. ``"int8"`` and ``"uint8"`` need the range of all
                vectors, so only ``encode`` has them.
            on_truncate: see ``encode``; warns once, when the stream ends or is closed.

        Yields:
            float32 [dimension]; int8 or uint8 [ceil(dimension / 8)] for ``"binary"`` and ``"ubinary"``.

        Raises:
            InputTypeError: as for ``encode``; the index is that in the whole stream.
            InputValueError: as for ``encode``; or the precision is ``"int8"`` or ``"uint8"``.
        """
        options, count = self._stream_options(
            window=window,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            on_truncate=on_truncate,
        )
        source = iter([texts]) if isinstance(texts, str) else check_iterable(texts)
        return self._engine.stream(source, count, options)

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
    def count_tokens(self, texts: str) -> int: ...  # type: ignore[overload-overlap]  # a str is an iterable of str
    @overload
    def count_tokens(self, texts: Iterable[str]) -> list[int]: ...
    def count_tokens(self, texts: str | Iterable[str]) -> int | list[int]:
        """Return the number of tokens of each text, special ones included, before truncation; an int for one string.

        Raises:
            InputTypeError: an input is not a string; the message has its index.
            InputValueError: a string is not valid Unicode.
        """
        strings, is_single = check_texts(texts)
        counts = self._engine.tokeniser.count(strings)
        return counts[0] if is_single else counts

    @property
    def similarity_fn_name(self) -> Similarity:
        """The model's measure of similarity: ``"cosine"``, ``"dot"``, ``"euclidean"`` or ``"manhattan"``."""
        return self._manifest.similarity

    def similarity(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
        """Return the similarity of each vector of ``first`` to each vector of ``second``: float32 [n, m].

        The measure is ``similarity_fn_name``: the cosine, unless the checkpoint names another. Distances are negated,
        so higher is always more similar. Binary vectors have no such measure: compare their bits.

        Args:
            first: vectors [n, dimension], or one vector [dimension].
            second: vectors [m, dimension], or one vector [dimension].

        Raises:
            InputTypeError: an argument is not an array of numbers.
            InputValueError: the dimensions differ, or a number is not finite.
        """
        from embedge.inference.similarity import similarity

        return similarity(first, second, self._manifest.similarity)

    def similarity_pairwise(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
        """Return the similarity of each vector of ``first`` to the one at its position in ``second``: float32 [n].

        The measure is that of ``similarity``.

        Args:
            first: vectors [n, dimension], or one vector [dimension].
            second: vectors of the same shape.

        Raises:
            InputTypeError: an argument is not an array of numbers.
            InputValueError: the shapes differ, or a number is not finite.
        """
        from embedge.inference.similarity import similarity_pairwise

        return similarity_pairwise(first, second, self._manifest.similarity)

    def _kind_prompt(self, kind: str, prompt: str | None, prompt_name: str | None) -> str | None:
        """Return the prompt that the caller passed, else the model's prompt for that kind of text."""
        return prompt if prompt is not None or prompt_name is not None else self._manifest.prompts.get(kind, "")

    # The jobs of the methods above, for ``AsyncEmbedder`` too: the options and the texts, checked.

    def _vector_job(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None,
        prompt_name: str | None,
        batch_tokens: int | None,
        normalize: bool | None,
        truncate_dim: int | None,
        precision: OutputPrecision,
        show_progress_bar: bool | None,
        on_truncate: OnTruncate,
        batch_size: int | None,
        normalize_embeddings: bool | None,
        convert_to_numpy: bool,
        convert_to_tensor: bool,
        device: str | None,
    ) -> tuple[Job[NDArray[Any]], bool]:
        """Return the job of ``encode``, and whether there is one string."""
        check_arrays(convert_to_numpy, convert_to_tensor)
        check_device(device, self.device)
        options = VectorOptions.check(
            self._manifest,
            prompt=prompt,
            prompt_name=prompt_name,
            normalize=choose_normalize(normalize, normalize_embeddings, truncate_dim, module=self._manifest.normalize),
            truncate_dim=truncate_dim,
            precision=precision,
            call=CallOptions.check(
                batch_tokens=batch_tokens,
                batch_size=batch_size,
                on_truncate=on_truncate,
                show_progress_bar=show_progress_bar,
            ),
        )
        strings, is_single = check_texts(texts)
        return self._engine.jobs.vectors(strings, options), is_single

    def _stream_options(
        self,
        *,
        window: int | None,
        prompt: str | None,
        prompt_name: str | None,
        batch_tokens: int | None,
        normalize: bool | None,
        truncate_dim: int | None,
        precision: Literal["float32", "binary", "ubinary"],
        on_truncate: OnTruncate,
    ) -> tuple[VectorOptions, int | None]:
        """Return the options of ``stream``, and its window."""
        options = VectorOptions.check(
            self._manifest,
            prompt=prompt,
            prompt_name=prompt_name,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            call=CallOptions.check(batch_tokens=batch_tokens, on_truncate=on_truncate, show_progress_bar=False),
        )
        if precision in RANGED:
            raise InputValueError(
                f"stream cannot give {precision}, which is scaled by the range of all vectors; "
                "use encode, or stream float32"
            )
        return options, check_count("window", window)

    def _sparse_job(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None,
        prompt_name: str | None,
        batch_tokens: int | None,
        show_progress_bar: bool | None,
        on_truncate: OnTruncate,
    ) -> tuple[Job[list[SparseVector]], bool]:
        """Return the job of ``encode_sparse``, and whether there is one string."""
        options = CallOptions.check(
            batch_tokens=batch_tokens, on_truncate=on_truncate, show_progress_bar=show_progress_bar
        )
        prefix = check_prefix(self._manifest, prompt=prompt, prompt_name=prompt_name)
        strings, is_single = check_texts(texts)
        return self._engine.jobs.sparse(strings, prefix, options), is_single

    def _multi_vector_job(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None,
        prompt_name: str | None,
        batch_tokens: int | None,
        show_progress_bar: bool | None,
        on_truncate: OnTruncate,
    ) -> tuple[Job[list[NDArray[np.float32]]], bool]:
        """Return the job of ``encode_multi_vector``, and whether there is one string."""
        options = CallOptions.check(
            batch_tokens=batch_tokens, on_truncate=on_truncate, show_progress_bar=show_progress_bar
        )
        prefix = check_prefix(self._manifest, prompt=prompt, prompt_name=prompt_name)
        strings, is_single = check_texts(texts)
        return self._engine.jobs.multi_vectors(strings, prefix, options), is_single
