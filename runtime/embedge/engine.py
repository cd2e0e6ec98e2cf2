"""A bundle, loaded: texts -> token ids -> batches -> hidden states -> vectors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedge.bundle import Manifest
from embedge.errors import TextValueError, TruncationWarning, warn
from embedge.options import OnTruncate, Options
from embedge.plan import Batch, plan_batches
from embedge.pool import convert, normalise, pool
from embedge.progress import progress
from embedge.session import Session
from embedge.texts import take_texts
from embedge.tokenise import Tokeniser, Tokens
from embedge.workers import Workers


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
            TextValueError: a text is not valid Unicode, or too long where that is an error.
        """
        tokens = self.tokeniser.encode(texts, prefix=options.prefix)
        truncation = _Truncation(self._manifest.max_tokens, options.on_truncate)
        truncation.add(tokens)
        truncation.warn()
        return convert(self._vectors(tokens, options, show_progress_bar), options.precision)

    def stream(self, source: Iterator[Any], window: int, options: Options) -> Iterator[NDArray[Any]]:
        """Vectors one by one; ``window`` texts are read and planned together.

        Raises:
            TextTypeError: an input is not a string; names its index in the whole stream.
            TextValueError: as ``encode``.
        """
        truncation, start = _Truncation(self._manifest.max_tokens, options.on_truncate), 0
        try:
            while texts := take_texts(source, window, start):
                tokens = self.tokeniser.encode(texts, prefix=options.prefix, start=start)
                truncation.add(tokens)
                yield from convert(self._vectors(tokens, options, False), options.precision)
                start += len(texts)
        except GeneratorExit:  # the reader has had enough
            truncation.warn()
            raise
        truncation.warn()

    def _vectors(self, tokens: Tokens, options: Options, show_progress_bar: bool | None) -> NDArray[np.float32]:
        """Pooled vectors, float32 [n, options.dimension], in input order."""
        vectors = np.empty((len(tokens.ids), self._manifest.dimension), np.float32)
        plan = plan_batches([len(ids) for ids in tokens.ids], batch_tokens=options.batch_tokens)
        with progress(len(vectors), show_progress_bar) as advance:

            def work(session: Session, batch: Batch) -> None:
                hidden = session.run(np.array([tokens.ids[member] for member in batch.members], np.int64))
                vectors[list(batch.members)] = pool(hidden, self._manifest.pooling)
                advance(len(batch.members))

            self._workers.run(plan, work)
        vectors = vectors[:, : options.dimension]
        return normalise(vectors) if options.normalize else vectors


class _Truncation:
    """Counts the texts of one call that lost their end, and says so once, as the caller wants it."""

    def __init__(self, max_tokens: int, on_truncate: OnTruncate) -> None:
        self._max_tokens = max_tokens
        self._on_truncate = on_truncate
        self._texts = 0
        self._positions: list[int] = []

    def add(self, tokens: Tokens) -> None:
        """Count some more; raises TextValueError where a truncated one is an error."""
        self._positions += (self._texts + position for position in tokens.truncated)
        self._texts += len(tokens.ids)
        if self._positions and self._on_truncate == "error":
            raise TextValueError(f"{self._message()}; split them, or pass on_truncate='warn' to drop what is beyond")

    def warn(self) -> None:
        """Warn of all that were counted, if there are any."""
        if self._positions and self._on_truncate == "warn":
            warn(f"{self._message()} and lost what is beyond; split them", TruncationWarning)

    def _message(self) -> str:
        return (
            f"{len(self._positions)} of {self._texts} texts are longer than {self._max_tokens} tokens "
            f"(the first is text {self._positions[0]})"
        )
