"""The jobs of ``Embedder`` and ``AsyncEmbedder``: the options and the texts of a call, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from embedge.errors import InputValueError
from embedge.inference.input_texts import check_texts
from embedge.inference.options import (
    RANGED,
    CallOptions,
    OnTruncate,
    OutputPrecision,
    VectorOptions,
    check_bool,
    check_count,
    check_prefix,
)
from embedge.inference.sentence_transformers_keywords import check_arrays, check_device, choose_normalize
from embedge.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.inference.embeddings import Embeddings
    from embedge.inference.jobs import Job, Kind
    from embedge.inference.sparse import SparseVector

ALL_KINDS: tuple[Kind, ...] = ("dense", "sparse", "multi_vector")


class EmbedJobs(Model):
    """An embedding model that makes jobs; its subclasses run them."""

    _task = "embed"

    def _kind_prompt(self, kind: str, prompt: str | None, prompt_name: str | None) -> str | None:
        """Return the prompt that the caller passed, else the model's prompt for that kind of text."""
        return prompt if prompt is not None or prompt_name is not None else self._manifest.prompts.get(kind, "")

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

    def _all_job(
        self,
        texts: str | Iterable[str],
        *,
        dense: bool,
        sparse: bool,
        multi_vector: bool,
        prompt: str | None,
        prompt_name: str | None,
        batch_tokens: int | None,
        normalize: bool | None,
        truncate_dim: int | None,
        precision: OutputPrecision,
        show_progress_bar: bool | None,
        on_truncate: OnTruncate,
    ) -> tuple[Job[Embeddings], bool]:
        """Return the job of ``encode_all``, and whether there is one string."""
        kinds = self._kinds(dense=dense, sparse=sparse, multi_vector=multi_vector)
        options = VectorOptions.check(
            self._manifest,
            prompt=prompt,
            prompt_name=prompt_name,
            normalize=normalize,
            truncate_dim=truncate_dim,
            precision=precision,
            call=CallOptions.check(
                batch_tokens=batch_tokens, on_truncate=on_truncate, show_progress_bar=show_progress_bar
            ),
        )
        strings, is_single = check_texts(texts)
        return self._engine.jobs.all_kinds(strings, options, kinds), is_single

    def _kinds(self, **asked: bool) -> list[Kind]:
        """Return the kinds of vectors that are asked for."""
        kinds: list[Kind] = [kind for kind in ALL_KINDS if check_bool(kind, asked[kind])]
        if not kinds:
            raise InputValueError("dense, sparse and multi_vector are all False; ask for one of them")
        return kinds

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
