"""A loaded bundle: texts to token ids, to batches, to the graph's output, to vectors, sparse vectors or scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from embedge.bundle.manifest import TOKEN_VECTORS, TOKEN_WEIGHTS, Manifest
from embedge.errors import TruncationWarning
from embedge.inference.collectors import Collector, ListCollector, ScoreCollector, VectorCollector
from embedge.inference.input_texts import take_texts
from embedge.inference.options import CallOptions, OnTruncate, VectorOptions
from embedge.inference.plan import Batch, plan_batches
from embedge.inference.pool import normalise
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch
from embedge.inference.tokenise import Tokeniser, Tokens
from embedge.inference.truncation import Truncation
from embedge.inference.workers import Workers
from embedge.progress import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.sparse import SparseVector

Result = TypeVar("Result")


class Engine:
    """A bundle's manifest, tokeniser and sessions, and the way from texts to results.

    Args:
        manifest: the bundle's manifest.
        tokeniser: the bundle's tokeniser.
        workers: sessions of one of the bundle's graphs.
    """

    def __init__(self, manifest: Manifest, tokeniser: Tokeniser, workers: Workers) -> None:
        self._manifest = manifest
        self._workers = workers
        self.tokeniser = tokeniser

    def encode(self, texts: list[str], options: VectorOptions) -> NDArray[Any]:
        """Return the vectors of texts, [n, ...] of ``options.precision``, in input order.

        Raises:
            InputValueError: a text is not valid Unicode, or is too long and ``on_truncate`` is ``error``.
        """
        tokens = self.tokeniser.encode(texts, prefix=options.prefix)
        self._warn_truncated(tokens, options.call.on_truncate)
        return self._run(tokens, self._vector_collector(tokens, options), options.call)

    def stream(self, source: Iterator[Any], window: int, options: VectorOptions) -> Iterator[NDArray[Any]]:
        """Yield the vectors of texts one by one; ``window`` texts are read and put into batches together.

        Raises:
            InputTypeError: an input is not a string; the message has its index in the whole stream.
            InputValueError: as for ``encode``.
        """
        truncation, start = Truncation(self._manifest.max_tokens, options.call.on_truncate), 0
        try:
            while texts := take_texts(source, window, start):
                tokens = self.tokeniser.encode(texts, prefix=options.prefix, start=start)
                truncation.add(tokens)
                yield from self._run(tokens, self._vector_collector(tokens, options), options.call)
                start += len(texts)
        except GeneratorExit:  # the caller closes the stream before its end
            with suppress(TruncationWarning):  # if warnings are errors: nobody could catch one raised here
                truncation.warn()
            raise
        truncation.warn()

    def encode_sparse(self, texts: list[str], prefix: str, options: CallOptions) -> list[SparseVector]:
        """Return the lexical weights of texts, in input order; raises as ``encode``."""
        from embedge.inference.sparse import to_sparse  # imported here, because dense vectors do not need it

        tokens = self.tokeniser.encode(texts, prefix=prefix)
        self._warn_truncated(tokens, options.on_truncate)
        convert_row = partial(to_sparse, leave_out=self.tokeniser.special_ids())
        return self._run(tokens, ListCollector(tokens.ids, TOKEN_WEIGHTS, convert_row), options)

    def encode_multi_vector(self, texts: list[str], prefix: str, options: CallOptions) -> list[NDArray[np.float32]]:
        """Return unit vectors of each text's tokens but the first, in input order; raises as ``encode``."""
        tokens = self.tokeniser.encode(texts, prefix=prefix)
        self._warn_truncated(tokens, options.on_truncate)
        return self._run(tokens, ListCollector(tokens.ids, TOKEN_VECTORS, _token_vectors), options)

    def score(self, pairs: list[tuple[str, str]], options: CallOptions) -> NDArray[np.float32]:
        """Return a reranker's logits of pairs of query and document, float32 [n], in input order.

        Raises:
            InputValueError: a text is not valid Unicode, a query leaves no room for its document, or a pair is too long
                and ``on_truncate`` is ``error``.
        """
        tokens = self.tokeniser.encode_pairs(pairs)
        self._warn_truncated(tokens, options.on_truncate, kind="pair")
        return self._run(tokens, ScoreCollector(len(pairs)), options)

    def _vector_collector(self, tokens: Tokens, options: VectorOptions) -> VectorCollector:
        return VectorCollector(len(tokens.ids), options, self._manifest.pooling)

    def _warn_truncated(self, tokens: Tokens, on_truncate: OnTruncate, *, kind: str = "text") -> None:
        truncation = Truncation(self._manifest.max_tokens, on_truncate, kind=kind)
        truncation.add(tokens)
        truncation.warn()

    def _run(self, tokens: Tokens, collector: Collector[Result], options: CallOptions) -> Result:
        """Put the texts into batches, run these on the workers, and return what the collector makes of the output.

        Raises:
            BundleError: the graph fails, or gives NaN or infinity.
        """
        counts = [len(ids) for ids in tokens.ids]
        plan = plan_batches(counts, batch_tokens=options.batch_tokens, batch_size=options.batch_size)
        with progress(len(counts), options.show_progress_bar) as advance:

            def run_batch(session: Session, batch: Batch) -> None:
                ids = np.array([tokens.ids[member] for member in batch.members], np.int64)
                token_batch = TokenBatch(batch.members, ids)
                try:
                    with np.errstate(all="ignore"):  # once, not in each function: entering it takes a microsecond
                        collector.store(batch.members, session.run(token_batch, collector.output))
                except FloatingPointError as error:
                    raise session.not_finite(collector.output, token_batch) from error
                advance(len(batch.members))

            self._workers.run(plan, run_batch)
        return collector.result()


def _token_vectors(ids: NDArray[np.integer[Any]], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors of a text's tokens but the first, float32 [tokens - 1, dimension]."""
    return normalise(vectors[1:])
