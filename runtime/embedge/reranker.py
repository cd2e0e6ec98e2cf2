"""Reranker: scores pairs of query and document with a cross-encoder, which reads both texts together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from embedge.bundle.manifest import Precision
from embedge.errors import InputTypeError, short
from embedge.inference.input_texts import check_iterable, take_texts
from embedge.inference.options import CallOptions, OnTruncate, check_bool, check_count
from embedge.inference.providers import ProviderArgument
from embedge.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.inference.jobs import Job

    class ScoreOptions(TypedDict, total=False):
        """Keywords of ``Reranker.score``, for its overloads."""

        normalize: bool
        batch_tokens: int | None
        show_progress_bar: bool | None
        on_truncate: OnTruncate


class Reranker(Model):
    """A reranker model, loaded from a bundle, that scores pairs of query and document.

    A reranker is more accurate than comparing vectors, and much slower: it reads every document again for every query.
    So search with an ``Embedder``, and rerank the best few dozen documents.

    Raises the same errors as ``Embedder``.

    Args:
        model: a recipe's name, a hub id, or a bundle's path.
        precision: see ``Embedder``.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.
        device: see ``Embedder``.

    Several threads may call it; it can be pickled, and used in a forked process, as an ``Embedder`` can.
    """

    _task = "rerank"

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
    ) -> None:
        super().__init__(
            model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            device=device,
        )

    @overload
    def score(  # type: ignore[overload-overlap]  # a pair is an iterable of strings, which are sequences of strings
        self, pairs: tuple[str, str], **options: Unpack[ScoreOptions]
    ) -> np.float32: ...
    @overload
    def score(self, pairs: Iterable[Sequence[str]], **options: Unpack[ScoreOptions]) -> NDArray[np.float32]: ...
    def score(
        self,
        pairs: tuple[str, str] | Iterable[Sequence[str]],
        *,
        normalize: bool = False,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> NDArray[np.float32] | np.float32:
        """Return how well each document answers its query; higher is better.

        The scores are logits, without a fixed range. On the CPU, each is the same, bit for bit, whatever the other
        pairs are.

        Args:
            pairs: pairs of query and document; or one pair, a tuple of two strings.
            normalize: map the scores to between 0 and 1, with the sigmoid. High scores may become equal; ``rank`` sorts
                by the logits.
            batch_tokens: token budget of one session run; None takes a good value for the device.
            show_progress_bar: show a progress bar on stderr; None shows one if the work is long and stderr is a
                terminal.
            on_truncate: what to do about pairs longer than ``max_tokens``: ``"ignore"``, ``"warn"`` or ``"error"``.
                Their documents lose their end, or their start, as the model's ``truncation_side`` says.

        Returns:
            float32 [n], in input order; one float32 for one pair.

        Raises:
            InputTypeError: a pair is not two strings (the message has its index), or an option has the wrong type.
            InputValueError: a string is not valid Unicode, a query leaves no room for its document, a pair is too long
                and ``on_truncate`` is ``"error"``, or an option has a wrong value.
        """
        job, is_single, use_sigmoid = self._score_job(
            pairs,
            normalize=normalize,
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        scores = scaled(self._engine.run(job), use_sigmoid)
        return scores[0] if is_single else scores

    def rank(
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
        """Return the documents' positions and scores, sorted by how well they answer the query, best first.

        Args:
            query: a question, or the words that were searched for.
            documents: texts, in any iterable that has an order.
            top_k: how many to return; None returns all.
            normalize: see ``score``.
            batch_tokens: see ``score``.
            show_progress_bar: see ``score``.
            on_truncate: see ``score``.

        Returns:
            Pairs of a position in ``documents`` and its score. Of equal scores, the earlier document comes first.

        Raises:
            InputTypeError: as for ``score``.
            InputValueError: as for ``score``; or ``top_k`` is below 1.
        """
        pairs, most, use_sigmoid = check_ranking(query, documents, top_k=top_k, normalize=normalize)
        scores = self.score(
            pairs, batch_tokens=batch_tokens, show_progress_bar=show_progress_bar, on_truncate=on_truncate
        )
        return ranked(scores, most, use_sigmoid)

    def _score_job(
        self,
        pairs: tuple[str, str] | Iterable[Sequence[str]],
        *,
        normalize: bool,
        batch_tokens: int | None,
        show_progress_bar: bool | None,
        on_truncate: OnTruncate,
    ) -> tuple[Job[NDArray[np.float32]], bool, bool]:
        """Return the job of ``score``, whether there is one pair, and whether to map the scores to 0 to 1.

        ``AsyncReranker`` uses it, too.
        """
        options = CallOptions.check(
            batch_tokens=batch_tokens, on_truncate=on_truncate, show_progress_bar=show_progress_bar
        )
        use_sigmoid = check_bool("normalize", normalize)
        checked, is_single = check_pairs(pairs)
        return self._engine.jobs.scores(checked, options), is_single, use_sigmoid


def scaled(scores: NDArray[np.float32], use_sigmoid: bool) -> NDArray[np.float32]:
    """Return logits as they are, or mapped to between 0 and 1."""
    from embedge.inference.pool import sigmoid

    return sigmoid(scores) if use_sigmoid else scores


def check_ranking(
    query: Any, documents: Any, *, top_k: int | None, normalize: bool
) -> tuple[list[tuple[str, str]], int | None, bool]:
    """Return the pairs that ``rank`` scores, how many to return, and whether to map the scores to 0 to 1.

    Raises:
        InputTypeError: the query is not a string, the documents are no list of strings, or an option has the wrong
            type.
        InputValueError: ``top_k`` is below 1.
    """
    most, use_sigmoid = check_count("top_k", top_k), check_bool("normalize", normalize)
    if not isinstance(query, str):
        raise InputTypeError(f"query must be a string, found {type(query).__name__}")
    if isinstance(documents, str):
        raise InputTypeError("documents must be a list of strings, found one string; put it in a list")
    texts = take_texts(check_iterable(documents, name="documents", kind="a list of strings"), None, 0)
    return [(query, text) for text in texts], most, use_sigmoid


def ranked(scores: NDArray[np.float32], most: int | None, use_sigmoid: bool) -> list[tuple[int, float]]:
    """Return the positions of scores and the scores, the best first, by logits: high ones have the same sigmoid."""
    order = (-scores).argsort(kind="stable")[:most]
    shown = scaled(scores, use_sigmoid)
    return [(int(index), float(shown[index])) for index in order]


def check_pairs(pairs: Any) -> tuple[list[tuple[str, str]], bool]:
    """Return the input as a list of pairs, and whether it was a single pair.

    Raises:
        InputTypeError: it is not an iterable of pairs of strings; the message has the first index that is not one.
    """
    if isinstance(pairs, str):
        raise InputTypeError(
            "pairs must be pairs of query and document, found a string; for one pair, call score((query, document))"
        )
    items = list(check_iterable(pairs, name="pairs", kind="a list of pairs of strings"))
    if isinstance(pairs, tuple) and len(items) == 2 and all(isinstance(text, str) for text in items):
        return [(items[0], items[1])], True
    for index, pair in enumerate(items):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InputTypeError(f"pair {index} must be two strings, query and document, found {short(pair)}")
    return [(query, document) for query, document in items], False
