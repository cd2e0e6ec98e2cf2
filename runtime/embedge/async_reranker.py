"""AsyncReranker: a Reranker whose methods are coroutines, and whose callers share batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Self, Unpack, overload

from embedge.async_model import MAX_WAITING_TEXTS, MAX_WAITING_TOKENS, AsyncModel
from embedge.bundle.manifest import Precision
from embedge.inference.options import OnTruncate
from embedge.inference.providers import ProviderArgument
from embedge.reranker import Reranker, check_ranking, ranked, scaled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.reranker import ScoreOptions


class AsyncReranker(AsyncModel[Reranker]):
    """A ``Reranker`` for asyncio: the same methods as coroutines, which never block the event loop.

    Pairs of different requests share batches as the texts of an ``AsyncEmbedder`` do, and a score is the same, bit for
    bit, on the CPU.

    Args:
        model: see ``Reranker``.
        precision: see ``Embedder``.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        device: see ``Embedder``.
        max_waiting_texts: the largest number of pairs that may wait for a core; see ``AsyncEmbedder``.
        max_waiting_tokens: the largest number of tokens of these pairs.
    """

    def __init__(
        self,
        model: str | PathLike[str] = "bge-reranker-base",
        *,
        precision: Precision | None = None,
        providers: Sequence[ProviderArgument] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        device: str | None = None,
        max_waiting_texts: int = MAX_WAITING_TEXTS,
        max_waiting_tokens: int = MAX_WAITING_TOKENS,
    ) -> None:
        reranker = Reranker(
            model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            device=device,
        )
        super().__init__(reranker, max_waiting_texts=max_waiting_texts, max_waiting_tokens=max_waiting_tokens)

    @classmethod
    def from_reranker(
        cls,
        reranker: Reranker,
        *,
        max_waiting_texts: int = MAX_WAITING_TEXTS,
        max_waiting_tokens: int = MAX_WAITING_TOKENS,
    ) -> Self:
        """Return an ``AsyncReranker`` that runs on a loaded reranker's sessions; both may be used."""
        return cls._of(reranker, max_waiting_texts=max_waiting_texts, max_waiting_tokens=max_waiting_tokens)

    @property
    def reranker(self) -> Reranker:
        """The reranker that does the work."""
        return self._model

    @overload
    async def score(  # type: ignore[overload-overlap]  # a pair is an iterable of strings, which are sequences of strings
        self, pairs: tuple[str, str], **options: Unpack[ScoreOptions]
    ) -> np.float32: ...
    @overload
    async def score(self, pairs: Iterable[Sequence[str]], **options: Unpack[ScoreOptions]) -> NDArray[np.float32]: ...
    async def score(
        self,
        pairs: tuple[str, str] | Iterable[Sequence[str]],
        *,
        normalize: bool = False,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> NDArray[np.float32] | np.float32:
        """Return how well each document answers its query; see ``Reranker.score`` for the arguments.

        Raises:
            InputTypeError: as for ``Reranker.score``.
            InputValueError: as for ``Reranker.score``.
            OverloadedError: too many pairs or tokens wait already.
            RuntimeError: the model is closed.
        """
        job, is_single, use_sigmoid = self._model._score_job(
            pairs,
            normalize=normalize,
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        scores = scaled(await self._run(job), use_sigmoid)
        return scores[0] if is_single else scores

    async def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        normalize: bool = False,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> list[tuple[int, float]]:
        """Return the documents' positions and scores, best first; see ``Reranker.rank``; raises as ``score``."""
        pairs, most, use_sigmoid = check_ranking(query, documents, top_k=top_k, normalize=normalize)
        scores = await self.score(
            pairs, batch_tokens=batch_tokens, show_progress_bar=show_progress_bar, on_truncate=on_truncate
        )
        return ranked(scores, most, use_sigmoid)
