"""Reranker: pairs of query and document to scores, by a cross-encoder that reads both at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, overload

from embedge.bundle.manifest import Precision
from embedge.errors import InputTypeError, short
from embedge.inference.inputs import check_iterable, take_texts
from embedge.inference.options import Limits, OnTruncate, check_bool, check_count
from embedge.model import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Reranker(Model):
    """A reranker's bundle, ready to score pairs of query and document.

    More exact than vectors, and far slower: every document is read anew for every query. So let an ``Embedder`` find
    some dozens, and rerank those.

    Args:
        model: a recipe's name, a hub id, or a bundle's path.
        precision: as in ``Embedder``, like all that follow, and what is raised.
        providers: see ``Embedder``.
        threads: see ``Embedder``.
        cache_dir: see ``Embedder``.
        local_files_only: see ``Embedder``.

    Safe to call from several threads; it pickles and forks as an ``Embedder`` does.
    """

    _task = "rerank"

    def __init__(
        self,
        model: str | PathLike[str] = "bge-reranker-base",
        *,
        precision: Precision | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        cache_dir: str | PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        super().__init__(
            model,
            precision=precision,
            providers=providers,
            threads=threads,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )

    def __repr__(self) -> str:
        return f"Reranker({self._manifest.model!r}, precision={self._precision!r})"

    @overload
    def score(  # type: ignore[overload-overlap]  # a pair is an iterable of strings, and those are sequences of strings
        self,
        pairs: tuple[str, str],
        *,
        normalize: bool = False,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> np.float32: ...
    @overload
    def score(
        self,
        pairs: Iterable[Sequence[str]],
        *,
        normalize: bool = False,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> NDArray[np.float32]: ...
    def score(
        self,
        pairs: tuple[str, str] | Iterable[Sequence[str]],
        *,
        normalize: bool = False,
        batch_tokens: int | None = None,
        show_progress_bar: bool | None = None,
        on_truncate: OnTruncate = "warn",
    ) -> NDArray[np.float32] | np.float32:
        """How well each document answers its query; higher is better.

        A pair's score does not depend on the others, bitwise. It is a logit, of no fixed range: rank by it.

        Args:
            pairs: of query and document; or one pair, a tuple of two strings.
            normalize: put the scores between 0 and 1, by the sigmoid. High ones may become equal;
                ``rank`` sorts by the logits.
            batch_tokens: token budget of one session run; None is a good value for a CPU.
            show_progress_bar: on stderr; None shows one when the work is long and stderr is a terminal.
            on_truncate: what to do about pairs longer than ``max_tokens``, whose documents lose their end, or
                their start by the model's ``truncation_side``: ``"ignore"``, ``"warn"`` or ``"error"``.

        Returns:
            float32 [n], in input order; one float32 for one pair.

        Raises:
            InputTypeError: a pair is not two strings (names its index), or an option is of another type.
            InputValueError: a string is not valid Unicode, a query leaves no room for its document, a pair is too long
                with ``on_truncate="error"``, or an option is wrong.
        """
        from embedge.inference.pool import sigmoid

        limits = Limits.check(batch_tokens=batch_tokens, on_truncate=on_truncate)
        wanted = check_bool("normalize", normalize)
        checked, single = check_pairs(pairs)
        scores = self._engine.score(checked, limits, show_progress_bar=show_progress_bar)
        scores = sigmoid(scores) if wanted else scores
        return scores[0] if single else scores

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
        """Documents by how well they answer a query, best first.

        Args:
            query: a question, or what was searched for.
            documents: any number of texts, in an order.
            top_k: how many to return; None returns all.
            normalize: as in ``score``, like all that follow.
            batch_tokens: see ``score``.
            show_progress_bar: see ``score``.
            on_truncate: see ``score``.

        Returns:
            Positions in ``documents`` and scores. Of equal scores the earlier document comes first.

        Raises:
            InputTypeError: as in ``score``.
            InputValueError: as in ``score``; or ``top_k`` is below 1.
        """
        from embedge.inference.pool import sigmoid

        most, wanted = check_count("top_k", top_k), check_bool("normalize", normalize)
        if not isinstance(query, str):
            raise InputTypeError(f"query must be a string, found {type(query).__name__}")
        if isinstance(documents, str):
            raise InputTypeError("documents must be a list of strings, found one string; put it in a list")
        texts = take_texts(check_iterable(documents, name="documents", kind="a list of strings"), None, 0)
        scores = self.score(
            [(query, text) for text in texts],
            batch_tokens=batch_tokens,
            show_progress_bar=show_progress_bar,
            on_truncate=on_truncate,
        )
        order = (-scores).argsort(kind="stable")[:most]  # by logits: high ones are all but 1 to the sigmoid, or 1
        scores = sigmoid(scores) if wanted else scores
        return [(int(index), float(scores[index])) for index in order]


def check_pairs(pairs: Any) -> tuple[list[tuple[str, str]], bool]:
    """The input as a list of pairs, and whether it was a single one.

    Raises:
        InputTypeError: it is not an iterable of pairs of strings; names the first index that is not.
    """
    if isinstance(pairs, str):
        raise InputTypeError("pairs must be pairs of query and document, found a string; score((query, document))")
    found = list(check_iterable(pairs, name="pairs", kind="a list of pairs of strings"))
    if isinstance(pairs, tuple) and len(found) == 2 and all(isinstance(text, str) for text in found):
        return [(found[0], found[1])], True
    for index, pair in enumerate(found):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InputTypeError(f"pair {index} must be two strings, query and document, found {short(pair)}")
    return [(query, document) for query, document in found], False
