"""Embedder: what a caller sees. Options are checked here, and the ``engine`` does the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from embedge.bundle.manifest import Precision, Similarity
from embedge.errors import BundleError, InputValueError
from embedge.inference.compat import check_arrays, check_device, choose_normalize
from embedge.inference.inputs import check_iterable, check_texts
from embedge.inference.options import RANGED, Limits, OnTruncate, Options, OutputPrecision, check_count, check_prefix
from embedge.inference.providers import CPU
from embedge.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.inference.sparse import SparseVector


class Embedder(Model):
    """A bundle, ready to turn text into vectors.

    Args:
        model: a recipe's name, a hub id, or a bundle's path.
        precision: of the graph, ``"int8"``, ``"fp32"`` or ``"fp16"``. None takes the first that the bundle holds, in
            that order; with CUDA in the order fp16, fp32, int8.
        providers: ONNX Runtime execution providers, such as ``["CUDAExecutionProvider", "CPUExecutionProvider"]``; None
            is the CPU. One that is not available is an error, never a silent fallback.
        threads: most cores to use; None is all that this process may (affinity and cgroup quota), and never are there
            more.
        cache_dir: where bundles are kept; None is ``$EMBEDGE_HOME``, else the platform's cache folder.
        local_files_only: never touch the network.
        device: sentence-transformers'; ``"cpu"``. Other devices are named by ``providers``.

    Raises:
        BundleNotFoundError: there is no such bundle; the message names the ways to get one.
        HubError: the hub has the bundle, and breaks off or refuses while it is downloaded.
        BundleCorruptError: a file is not what was exported.
        BundleError: the bundle is a reranker's.
        PrecisionNotFoundError: the bundle lacks the precision; the message has the command that adds it.
        ProviderError: a provider is not available or did not start.
        InputTypeError: an argument is of another type.
        InputValueError: ``threads`` is less than 1, or ``device`` is not where ``providers`` run.

    Safe to call from several threads. It pickles, as a path and options: the bundle must be there. A forked child may
    call it, as multiprocessing's workers do; but one that ends by ``sys.exit`` waits for ever for threads that only the
    parent has, as with onnxruntime alone. Let it end by ``os._exit``, or spawn it.
    """

    _task = "embed"

    def __init__(
        self,
        model: str | PathLike[str] = "bge-small-en-v1.5",
        *,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        device: str | None = None,
    ) -> None:
        check_device(device, providers or (CPU,))
        super().__init__(
            model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )

    def __repr__(self) -> str:
        return f"Embedder({self._manifest.model!r}, precision={self._precision!r}, dimension={self.dimension})"

    @property
    def dimension(self) -> int:
        """Number of elements of a vector."""
        return self._manifest.dimension

    @property
    def max_seq_length(self) -> int:
        """sentence-transformers' name of ``max_tokens``. Theirs can be set; a bundle fixes it."""
        return self.max_tokens

    def get_embedding_dimension(self) -> int:
        """sentence-transformers' name of ``dimension``."""
        return self.dimension

    def get_sentence_embedding_dimension(self) -> int:
        """sentence-transformers' older name of ``dimension``."""
        return self.dimension

    @property
    def prompts(self) -> Mapping[str, str]:
        """Text put in front of an input, by kind: ``query``, ``document`` or a name of the checkpoint's own."""
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
        """Vectors of texts, in input order.

        Args:
            texts: one string, or any number of them in an order: a list, an iterator, but no set or dict. Of a text no
                more than 65,536 characters are read (32,768 with a BPE tokenizer), or 12 for each of ``max_tokens``
                where that is more. An endless run of white space or of a letter may count as a short one. A text that
                goes on behind that is truncated, and its vector that of what was read.
            prompt: text to put in front of every input; wins over ``prompt_name``.
            prompt_name: name of one of ``prompts``. With neither, the checkpoint's default prompt, if it has one.
            batch_tokens: token budget of one session run; None is a good value for a CPU.
            normalize: scale vectors to length 1 (L2). None does what the model was trained for, which is that but for
                the few whose checkpoint has no ``Normalize`` module.
            truncate_dim: keep the first so many dimensions, before normalising; for Matryoshka-trained models.
            precision: type of the vectors: ``"float32"``; ``"int8"`` or ``"uint8"``, scaled by each dimension's range
                in these vectors; ``"binary"`` or ``"ubinary"``, one bit a dimension, packed. As sentence-transformers'.
            show_progress_bar: on stderr; None shows one when the work is long and stderr is a terminal.
            on_truncate: what to do about texts longer than ``max_tokens``: ``"ignore"``, ``"warn"`` or ``"error"``.
            batch_size: most texts in one session run, beside ``batch_tokens``. No vector depends on it.
            normalize_embeddings: sentence-transformers' name of ``normalize``. False has no effect, as theirs has none:
                where a model has a ``Normalize`` module, that scales all the same.
            convert_to_numpy: sentence-transformers'; vectors are numpy's arrays, and nothing else can be asked for.
            convert_to_tensor: as ``convert_to_numpy``.
            device: sentence-transformers'; ``"cpu"``, where the model was loaded for it.

        Returns:
            float32 [n, dimension]; [dimension] for one string; [0, dimension] for no texts. With another ``precision``
            int8 or uint8, and [n, ceil(dimension / 8)] for the packed ones.

        Raises:
            InputTypeError: an input is not a string (names its index), or an option is of another type.
            InputValueError: a string is not valid Unicode, or too long with ``on_truncate="error"``, or an option
                is wrong.
        """
        check_arrays(convert_to_numpy, convert_to_tensor)
        check_device(device, self._providers)
        options = Options.check(
            self._manifest,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            batch_size=batch_size,
            normalize=choose_normalize(normalize, normalize_embeddings, truncate_dim, module=self._manifest.normalize),
            truncate_dim=truncate_dim,
            precision=precision,
            on_truncate=on_truncate,
        )
        strings, single = check_texts(texts)
        vectors = self._engine.encode(strings, options, show_progress_bar=show_progress_bar)
        return vectors[0] if single else vectors

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
        """``encode`` with the model's query prompt in front of every text, if it has one. See ``encode``."""
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
        """``encode`` for texts to be found: never the query prompt; BGE's documents get none at all. See ``encode``."""
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
        window: int = 1024,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        precision: Literal["float32", "binary", "ubinary"] = "float32",
        on_truncate: OnTruncate = "warn",
    ) -> Iterator[NDArray[Any]]:
        """Vectors one by one, in input order, of texts that need not fit in memory.

        Args:
            texts: any iterable of strings in an order; read ``window`` at a time, as the vectors are asked for.
            window: texts held at once, and so planned together.
            prompt: as in ``encode``, like all that follow.
            prompt_name: see ``encode``.
            batch_tokens: see ``encode``.
            normalize: see ``encode``.
            truncate_dim: see ``encode``.
            precision: ``"int8"`` and ``"uint8"`` are scaled by the whole set's range, so only ``encode`` has them.
            on_truncate: see ``encode``; warns once, when the stream ends or is closed.

        Yields:
            float32 [dimension]; int8 or uint8 [ceil(dimension / 8)] for the packed types.

        Raises:
            InputTypeError: as in ``encode``; the index is that in the whole stream.
            InputValueError: as in ``encode``.
        """
        options = Options.check(
            self._manifest,
            prompt=prompt,
            prompt_name=prompt_name,
            batch_tokens=batch_tokens,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            on_truncate=on_truncate,
        )
        if precision in RANGED:
            raise InputValueError(f"{precision} is scaled by the range of the whole set; use encode, or stream float32")
        count = check_count("window", window) or 1
        source = iter([texts]) if isinstance(texts, str) else check_iterable(texts)
        return self._engine.stream(source, count, options)

    @overload
    def encode_sparse(  # type: ignore[overload-overlap]  # a str iterates over str
        self,
        texts: str,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> SparseVector: ...
    @overload
    def encode_sparse(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> list[SparseVector]: ...
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
        """Lexical weights of texts, in input order, by a model that has them, such as bge-m3.

        What FlagEmbedding calls ``lexical_weights``: for each token of a text, special ones left out, the largest
        weight that it has there. The score of two texts is ``first.dot(second)``.

        Args:
            texts: one string, or any number of them.
            prompt: as in ``encode``, like all that follow.
            prompt_name: see ``encode``.
            batch_tokens: see ``encode``.
            show_progress_bar: see ``encode``.
            on_truncate: see ``encode``.

        Returns:
            A list of one sparse vector for each text; one sparse vector for one string.

        Raises:
            BundleError: the model gives no weights of tokens.
            InputTypeError: as in ``encode``.
            InputValueError: as in ``encode``.
        """
        if not self._manifest.sparse:
            raise BundleError(f"{self._manifest.model} gives no lexical weights; bge-m3 does, `embedge export bge-m3`")
        limits = Limits.check(batch_tokens=batch_tokens, on_truncate=on_truncate)
        prefix = check_prefix(self._manifest, prompt=prompt, prompt_name=prompt_name)
        strings, single = check_texts(texts)
        found = self._engine.encode_sparse(strings, limits, prefix=prefix, show_progress_bar=show_progress_bar)
        return found[0] if single else found

    @overload
    def encode_multi_vector(  # type: ignore[overload-overlap]  # a str iterates over str
        self,
        texts: str,
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> NDArray[np.float32]: ...
    @overload
    def encode_multi_vector(
        self,
        texts: Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
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
        """A vector for each token of texts, in input order, by a model that has them, such as bge-m3.

        What FlagEmbedding calls ``colbert_vecs``: of all tokens but the first; the last, which ends the text, is one.
        The score of two texts is ``embedge.max_similarity``.

        Args:
            texts: one string, or any number of them.
            prompt: as in ``encode``, like all that follow.
            prompt_name: see ``encode``.
            batch_tokens: see ``encode``.
            show_progress_bar: see ``encode``.
            on_truncate: see ``encode``.

        Returns:
            A list of one array for each text, float32 [tokens - 1, dimension], each row of length 1 (L2); one array for
            one string.

        Raises:
            BundleError: the model gives no vectors of tokens.
            InputTypeError: as in ``encode``.
            InputValueError: as in ``encode``.
        """
        if not self._manifest.multi_vector:
            raise BundleError(f"{self._manifest.model} gives no multi-vectors; bge-m3 does, `embedge export bge-m3`")
        limits = Limits.check(batch_tokens=batch_tokens, on_truncate=on_truncate)
        prefix = check_prefix(self._manifest, prompt=prompt, prompt_name=prompt_name)
        strings, single = check_texts(texts)
        found = self._engine.encode_multi_vector(strings, limits, prefix=prefix, show_progress_bar=show_progress_bar)
        return found[0] if single else found

    @overload
    def count_tokens(self, texts: str) -> int: ...  # type: ignore[overload-overlap]  # a str iterates over str
    @overload
    def count_tokens(self, texts: Iterable[str]) -> list[int]: ...
    def count_tokens(self, texts: str | Iterable[str]) -> int | list[int]:
        """Tokens of each whole text, special ones included, before truncation: a list, or an int for one string.

        Raises:
            InputTypeError: an input is not a string; names its index.
            InputValueError: a string is not valid Unicode.
        """
        strings, single = check_texts(texts)
        counts = self._engine.tokeniser.count(strings)
        return counts[0] if single else counts

    @property
    def similarity_fn_name(self) -> Similarity:
        """How the model compares two vectors: ``"cosine"``, ``"dot"``, ``"euclidean"`` or ``"manhattan"``."""
        return self._manifest.similarity

    def similarity(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
        """How alike each vector of ``first`` [n, dimension] is to each of ``second`` [m, dimension]: float32 [n, m].

        By ``similarity_fn_name``, the cosine where the checkpoint says nothing else, and of distances the negative; so
        higher is more alike, always. Either may be one vector, [dimension]. Packed binary vectors have none of these:
        compare their bits.

        Raises:
            InputValueError: the two differ in dimension.
        """
        from embedge.inference.similarity import similarity

        return similarity(first, second, self._manifest.similarity)

    def similarity_pairwise(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float32]:
        """How alike each vector of ``first`` [n, dimension] is to its counterpart in ``second``: float32 [n].

        See ``similarity``.

        Raises:
            InputValueError: the two differ in number or dimension.
        """
        from embedge.inference.similarity import similarity_pairwise

        return similarity_pairwise(first, second, self._manifest.similarity)

    def _kind_prompt(self, kind: str, prompt: str | None, prompt_name: str | None) -> str | None:
        """What the caller asked for, else the model's prompt for that kind of text."""
        return prompt if prompt is not None or prompt_name is not None else self._manifest.prompts.get(kind, "")
