"""A bundle, loaded: texts -> token ids -> batches -> what the graph gives -> vectors or scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from embedge.bundle.manifest import HIDDEN, SCORES, TOKEN_VECTORS, TOKEN_WEIGHTS, Manifest
from embedge.errors import TruncationWarning
from embedge.inference.inputs import take_texts
from embedge.inference.options import RANGED, Limits, Options, OutputPrecision, check_bool
from embedge.inference.plan import Batch, plan_batches
from embedge.inference.pool import convert, normalise, pool
from embedge.inference.session import Session
from embedge.inference.tokenise import Tokeniser, Tokens
from embedge.inference.truncation import Truncation
from embedge.inference.workers import Workers
from embedge.progress import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.sparse import SparseVector

Made = TypeVar("Made")


class Engine:
    """What a bundle holds, loaded, and what joins it.

    Args:
        manifest: of the bundle.
        tokeniser: the bundle's.
        workers: the sessions of one of its graphs.
    """

    def __init__(self, manifest: Manifest, tokeniser: Tokeniser, workers: Workers) -> None:
        self._manifest = manifest
        self._workers = workers
        self.tokeniser = tokeniser

    def encode(self, texts: list[str], options: Options, *, show_progress_bar: bool | None) -> NDArray[Any]:
        """Vectors of texts [n, ...], in input order and of ``options.precision``.

        Raises:
            InputValueError: a text is not valid Unicode, or too long where that is an error.
        """
        tokens = self._told(self.tokeniser.encode(texts, prefix=options.prefix), options.limits)
        return self._vectors(tokens, options, show_progress_bar)

    def stream(self, source: Iterator[Any], window: int, options: Options) -> Iterator[NDArray[Any]]:
        """Vectors one by one; ``window`` texts are read and planned together.

        Raises:
            InputTypeError: an input is not a string; names its index in the whole stream.
            InputValueError: as ``encode``.
        """
        truncation, start = Truncation(self._manifest.max_tokens, options.limits.on_truncate), 0
        try:
            while texts := take_texts(source, window, start):
                tokens = self.tokeniser.encode(texts, prefix=options.prefix, start=start)
                truncation.add(tokens)
                yield from self._vectors(tokens, options, False)
                start += len(texts)
        except GeneratorExit:  # the reader has had enough
            with suppress(TruncationWarning):  # which nobody could catch here, if warnings are errors
                truncation.warn()
            raise
        truncation.warn()

    def encode_sparse(
        self, texts: list[str], limits: Limits, *, prefix: str, show_progress_bar: bool | None
    ) -> list[SparseVector]:
        """Lexical weights of texts, in input order; raises as ``encode``."""
        from embedge.inference.sparse import to_sparse  # which a cold start for a vector does without

        tokens = self._told(self.tokeniser.encode(texts, prefix=prefix), limits)
        leave_out = self.tokeniser.special_ids()

        def make(ids: NDArray[np.integer[Any]], weights: NDArray[np.float32]) -> SparseVector:
            return to_sparse(ids, weights, leave_out=leave_out)

        return self._for_each(tokens, limits, TOKEN_WEIGHTS, make, show_progress_bar)

    def encode_multi_vector(
        self, texts: list[str], limits: Limits, *, prefix: str, show_progress_bar: bool | None
    ) -> list[NDArray[np.float32]]:
        """Unit vectors of all tokens but the first of each text, in input order; raises as ``encode``."""
        tokens = self._told(self.tokeniser.encode(texts, prefix=prefix), limits)

        def make(ids: NDArray[np.integer[Any]], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
            return normalise(vectors[1:])

        return self._for_each(tokens, limits, TOKEN_VECTORS, make, show_progress_bar)

    def score(
        self, pairs: list[tuple[str, str]], limits: Limits, *, show_progress_bar: bool | None
    ) -> NDArray[np.float32]:
        """A reranker's logits of pairs of query and document [n], in input order.

        Raises:
            InputValueError: a text is not valid Unicode, a query leaves no room for its document, or a pair is too long
                where that is an error.
        """
        tokens = self._told(self.tokeniser.encode_pairs(pairs), limits, kind="pair")
        scores = np.empty(len(pairs), np.float32)

        def keep(members: Sequence[int], logits: NDArray[np.float32]) -> None:
            scores[list(members)] = logits[:, 0]

        self._run(tokens, limits, SCORES, keep, show_progress_bar)
        return scores

    def _told(self, tokens: Tokens, limits: Limits, *, kind: str = "text") -> Tokens:
        """The tokens, once the caller knows which texts were truncated."""
        truncation = Truncation(self._manifest.max_tokens, limits.on_truncate, kind=kind)
        truncation.add(tokens)
        truncation.warn()
        return tokens

    def _vectors(self, tokens: Tokens, options: Options, show_progress_bar: bool | None) -> NDArray[Any]:
        """Vectors [n, ...] of ``options.precision``, in input order."""
        ranged = options.precision in RANGED  # by all the vectors, so these are converted together
        kept: OutputPrecision = "float32" if ranged else options.precision
        none = convert(np.empty((0, options.dimension), np.float32), kept)
        vectors = np.empty((len(tokens.ids), *none.shape[1:]), none.dtype)

        def keep(members: Sequence[int], hidden: NDArray[np.float32]) -> None:
            pooled = pool(hidden, self._manifest.pooling)[:, : options.dimension]
            if not options.normalize and not np.isfinite(pooled).all():
                raise FloatingPointError
            vectors[list(members)] = convert(normalise(pooled) if options.normalize else pooled, kept)

        self._run(tokens, options.limits, HIDDEN, keep, show_progress_bar)
        return convert(vectors, options.precision) if ranged else vectors

    def _for_each(
        self,
        tokens: Tokens,
        limits: Limits,
        output: str,
        make: Callable[[NDArray[np.integer[Any]], NDArray[np.float32]], Made],
        show_progress_bar: bool | None,
    ) -> list[Made]:
        """What ``make`` makes of each text's token ids and what the graph's output is for them, in input order."""
        found: dict[int, Made] = {}

        def keep(members: Sequence[int], rows: NDArray[np.float32]) -> None:
            for member, row in zip(members, rows, strict=True):
                found[member] = make(tokens.ids[member], row)

        self._run(tokens, limits, output, keep, show_progress_bar)
        return [found[member] for member in range(len(tokens.ids))]

    def _run(
        self,
        tokens: Tokens,
        limits: Limits,
        output: str,
        keep: Callable[[Sequence[int], NDArray[np.float32]], None],
        show_progress_bar: bool | None,
    ) -> None:
        """Gives ``keep`` the positions of a batch's texts and the graph's output for them, on several threads.

        Raises:
            BundleError: the graph fails, or ``keep`` raises FloatingPointError: what it gives is not finite.
        """
        counts = [len(ids) for ids in tokens.ids]
        plan = plan_batches(counts, batch_tokens=limits.batch_tokens, batch_size=limits.batch_size)
        show = None if show_progress_bar is None else check_bool("show_progress_bar", show_progress_bar)
        with progress(len(tokens.ids), show) as advance:

            def work(session: Session, batch: Batch) -> None:
                ids = np.array([tokens.ids[member] for member in batch.members], np.int64)
                try:
                    with np.errstate(all="ignore"):  # here, and not in each function: it takes a microsecond
                        keep(batch.members, session.run(ids, output))
                except FloatingPointError as error:
                    raise session.not_finite(output, ids) from error
                advance(len(batch.members))

            self._workers.run(plan, work)
