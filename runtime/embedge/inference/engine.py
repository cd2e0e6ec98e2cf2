"""A loaded bundle: texts to token ids, to batches, to the graph's output, to vectors, sparse vectors or scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from embedge.bundle.manifest import TOKEN_VECTORS, TOKEN_WEIGHTS, Manifest
from embedge.errors import TruncationWarning
from embedge.inference.collectors import Collector, ListCollector, ScoreCollector, VectorCollector
from embedge.inference.input_texts import take_texts
from embedge.inference.options import CallOptions, VectorOptions
from embedge.inference.plan import Batch
from embedge.inference.pool import normalise
from embedge.inference.schedule import Schedule
from embedge.inference.session import Session
from embedge.inference.token_batch import make_batch
from embedge.inference.tokenise import Tokeniser
from embedge.inference.tokens import Tokens
from embedge.inference.truncation import Truncation
from embedge.inference.workers import Workers
from embedge.progress import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.sparse import SparseVector

Result = TypeVar("Result")


def _ignore(count: int) -> None:
    """Advance no progress bar."""


class Engine:
    """A bundle's manifest, tokeniser and sessions, and the way from texts to results.

    Args:
        manifest: the bundle's manifest.
        tokeniser: the bundle's tokeniser.
        workers: sessions of one of the bundle's graphs.
        schedule: when texts are tokenised, and how they are put into batches.
        kernels: the instruction set of the kernels that run the graph; None for a plain graph.
    """

    def __init__(
        self,
        manifest: Manifest,
        tokeniser: Tokeniser,
        workers: Workers,
        schedule: Schedule,
        *,
        kernels: str | None = None,
    ) -> None:
        self._manifest = manifest
        self._workers = workers
        self._schedule = schedule
        self.tokeniser = tokeniser
        self.kernels = kernels

    def encode(self, texts: list[str], options: VectorOptions) -> NDArray[Any]:
        """Return the vectors of texts, [n, ...] of ``options.precision``, in input order.

        Raises:
            InputValueError: a text is not valid Unicode, or is too long and ``on_truncate`` is ``error``.
        """
        return self._run_texts(texts, options.prefix, self._vector_collector(len(texts), options), options.call)

    def stream(self, source: Iterator[Any], window: int | None, options: VectorOptions) -> Iterator[NDArray[Any]]:
        """Yield the vectors of texts one by one; ``window`` texts, or the schedule's number, are planned together.

        Raises:
            InputTypeError: an input is not a string; the message has its index in the whole stream.
            InputValueError: as for ``encode``.
        """
        truncation, tokenise = Truncation(self._manifest.max_tokens, options.call.on_truncate), self.tokeniser.encode
        prepared = self._schedule.prepared(
            _windows(source, window or self._schedule.window),
            lambda taken: self._plan(tokenise(taken[1], prefix=options.prefix, start=taken[0]), options.call),
        )
        try:
            with closing(prepared):  # no thread outlives the call
                for tokens, plan in prepared:
                    truncation.add(tokens)
                    collector = self._vector_collector(len(tokens), options)
                    self._run_batches(tokens, plan, collector)
                    yield from collector.result()
        except GeneratorExit:  # the caller closes the stream before its end
            with suppress(TruncationWarning):  # if warnings are errors: nobody could catch one raised here
                truncation.warn()
            raise
        truncation.warn()

    def encode_sparse(self, texts: list[str], prefix: str, options: CallOptions) -> list[SparseVector]:
        """Return the lexical weights of texts, in input order; raises as ``encode``."""
        from embedge.inference.sparse import to_sparse  # imported here, because dense vectors do not need it

        convert_row = partial(to_sparse, leave_out=self.tokeniser.special_ids())
        return self._run_texts(texts, prefix, ListCollector(len(texts), TOKEN_WEIGHTS, convert_row), options)

    def encode_multi_vector(self, texts: list[str], prefix: str, options: CallOptions) -> list[NDArray[np.float32]]:
        """Return unit vectors of each text's tokens but the first, in input order; raises as ``encode``."""
        return self._run_texts(texts, prefix, ListCollector(len(texts), TOKEN_VECTORS, _token_vectors), options)

    def score(self, pairs: list[tuple[str, str]], options: CallOptions) -> NDArray[np.float32]:
        """Return a reranker's logits of pairs of query and document, float32 [n], in input order.

        Raises:
            InputValueError: a text is not valid Unicode, a query leaves no room for its document, or a pair is too long
                and ``on_truncate`` is ``error``.
        """
        lengths = [len(query) + len(document) for query, document in pairs]
        return self._run(
            lengths,
            lambda chunk: self.tokeniser.encode_pairs(pairs[slice(*chunk)], start=chunk[0]),
            ScoreCollector(len(pairs)),
            options,
            kind="pair",
        )

    def _vector_collector(self, count: int, options: VectorOptions) -> VectorCollector:
        return VectorCollector(count, options, self._manifest.pooling)

    def _run_texts(self, texts: list[str], prefix: str, collector: Collector[Result], options: CallOptions) -> Result:
        return self._run(
            [len(text) for text in texts],
            lambda chunk: self.tokeniser.encode(texts[slice(*chunk)], prefix=prefix, start=chunk[0]),
            collector,
            options,
        )

    def _run(
        self,
        lengths: Sequence[int],
        tokenise: Callable[[tuple[int, int]], Tokens],
        collector: Collector[Result],
        options: CallOptions,
        *,
        kind: str = "text",
    ) -> Result:
        """Tokenise the inputs chunk by chunk, run them, and return what the collector makes of the output.

        Args:
            lengths: characters of each input.
            tokenise: returns the tokens of the inputs between two positions.
            collector: stores the output.
            options: the options of the call.
            kind: what messages call an input.

        Raises:
            BundleError: the graph fails, or gives NaN or infinity.
        """
        schedule, start = self._schedule, 0
        truncation = Truncation(self._manifest.max_tokens, options.on_truncate, kind=kind)
        prepared = schedule.prepared(schedule.chunks(lengths), lambda chunk: self._plan(tokenise(chunk), options))
        # Closing waits for the threads of ``prepared``: no thread outlives the call.
        with progress(len(lengths), options.show_progress_bar) as advance, closing(prepared):
            for tokens, plan in prepared:
                truncation.add(tokens)
                if start + len(tokens) == len(lengths):  # before the run on a CPU, where all are tokenised first
                    truncation.warn()
                self._run_batches(tokens, plan, collector, start=start, advance=advance)
                start += len(tokens)
        return collector.result()

    def _plan(self, tokens: Tokens, options: CallOptions) -> tuple[Tokens, Sequence[Batch]]:
        """Return the tokens with their batches."""
        return tokens, self._schedule.plan(tokens.counts.tolist(), options)

    def _run_batches(
        self,
        tokens: Tokens,
        plan: Sequence[Batch],
        collector: Collector[Any],
        *,
        start: int = 0,
        advance: Callable[[int], object] = _ignore,
    ) -> None:
        """Run batches on the workers.

        Args:
            tokens: the tokens of some texts.
            plan: their batches.
            collector: stores the output.
            start: position of the first text in the input.
            advance: called with the number of texts that are done.
        """

        def run_batch(session: Session, batch: Batch) -> None:
            token_batch = make_batch(tokens, batch, start=start)
            try:
                with np.errstate(all="ignore"):  # once, not in each function: entering it takes a microsecond
                    collector.store(token_batch, session.run(token_batch, collector.output))
            except FloatingPointError as error:
                raise session.not_finite(collector.output, token_batch) from error
            advance(len(batch.members))

        self._workers.run(plan, run_batch)


def _windows(source: Iterator[Any], window: int) -> Iterator[tuple[int, list[str]]]:
    """Yield windows of texts, each with the position of its first text; raises InputTypeError as ``take_texts``."""
    start = 0
    while texts := take_texts(source, window, start):
        yield start, texts
        start += len(texts)


def _token_vectors(ids: NDArray[np.integer[Any]], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors of a text's tokens but the first, float32 [tokens - 1, dimension]."""
    return normalise(vectors[1:])
