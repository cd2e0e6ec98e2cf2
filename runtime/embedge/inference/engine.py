"""A loaded bundle: texts to token ids, to batches, to the graph's output, to vectors, sparse vectors or scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from embedge.bundle.manifest import HIDDEN, Manifest
from embedge.errors import TruncationWarning
from embedge.inference.collectors import Collector
from embedge.inference.input_texts import take_texts
from embedge.inference.jobs import Job, Jobs
from embedge.inference.options import CallOptions, VectorOptions
from embedge.inference.plan import Batch
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
        self.workers = workers
        self.schedule = schedule
        self.tokeniser = tokeniser
        self.jobs = Jobs(manifest, tokeniser)
        self.kernels = kernels

    def stream(self, source: Iterator[Any], window: int | None, options: VectorOptions) -> Iterator[NDArray[Any]]:
        """Yield the vectors of texts one by one; ``window`` texts, or the schedule's number, are planned together.

        Raises:
            InputTypeError: an input is not a string; the message has its index in the whole stream.
            InputValueError: as for ``run``.
        """
        truncation = self.jobs.truncation(options.call)

        def make_job(start: int, texts: list[str]) -> Job[NDArray[Any]]:
            return self.jobs.vectors(texts, options, start=start, truncation=truncation)

        return self.stream_jobs(windows(source, window or self.schedule.window), make_job, truncation)

    def stream_jobs(
        self,
        texts: Iterator[tuple[int, list[str]]],
        make_job: Callable[[int, list[str]], Job[Any]],
        truncation: Truncation,
    ) -> Iterator[Any]:
        """Yield the results of window after window, one by one.

        Args:
            texts: windows of texts, each with the position of its first text.
            make_job: makes the job of one window, whose result is iterable.
            truncation: counts the truncated texts of all windows.

        Raises:
            InputTypeError: as ``texts`` raises it.
            InputValueError: as for ``run``.
        """
        prepared = self.schedule.prepared(
            (make_job(start, window) for start, window in texts),
            lambda job: (job, *self.plan(job.inputs.tokenise(0, len(job.lengths)), job.options)),
        )
        try:
            with closing(prepared):  # no thread outlives the call
                for job, tokens, plan in prepared:
                    truncation.add(tokens)
                    self.run_batches(tokens, plan, job.collector)
                    yield from job.collector.result()
        except GeneratorExit:  # the caller closes the stream before its end
            with suppress(TruncationWarning):  # if warnings are errors: nobody could catch one raised here
                truncation.warn()
            raise
        truncation.warn()

    def run(self, job: Job[Result]) -> Result:
        """Tokenise a job's inputs chunk by chunk, run them, and return what its collector makes of the output.

        Raises:
            InputValueError: a text is not valid Unicode, a query leaves no room for its document, or an input is too
                long and ``on_truncate`` is ``error``.
            BundleError: the graph fails, or gives NaN or infinity.
        """
        schedule, start, count = self.schedule, 0, len(job.lengths)
        prepared = schedule.prepared(
            schedule.chunks(job.lengths), lambda chunk: self.plan(job.inputs.tokenise(*chunk), job.options)
        )
        # Closing waits for the threads of ``prepared``: no thread outlives the call.
        with progress(count, job.options.show_progress_bar) as advance, closing(prepared):
            for tokens, plan in prepared:
                job.truncation.add(tokens)
                if start + len(tokens) == count:  # before the run on a CPU, where all are tokenised first
                    job.truncation.warn()
                self.run_batches(tokens, plan, job.collector, start=start, advance=advance)
                start += len(tokens)
        return job.collector.result()

    def plan(self, tokens: Tokens, options: CallOptions) -> tuple[Tokens, Sequence[Batch]]:
        """Return the tokens with their batches."""
        return tokens, self.schedule.plan(tokens.counts.tolist(), options)

    def run_batches(
        self,
        tokens: Tokens,
        plan: Sequence[Batch],
        collector: Collector[Any],
        *,
        start: int = 0,
        advance: Callable[[int], object] = _ignore,
        one_core: bool = False,
    ) -> None:
        """Run batches on the workers.

        Args:
            tokens: the tokens of some texts.
            plan: their batches.
            collector: stores the outputs.
            start: position of the first text in the input.
            advance: called with the number of texts that are done.
            one_core: run them one after the other on one core, and not on as many as are free.

        Raises:
            BundleError: the graph fails, or gives NaN or infinity.
        """

        def run_batch(session: Session, batch: Batch) -> None:
            token_batch = make_batch(tokens, batch, start=start)
            try:
                with np.errstate(all="ignore"):  # once, not in each function: entering it takes a microsecond
                    rows = collector.rows(token_batch, session.run_outputs(token_batch, collector.outputs))
            except FloatingPointError as error:
                raise session.not_finite(HIDDEN, token_batch) from error
            collector.keep(token_batch.members, rows)
            advance(len(batch.members))

        run = self.workers.run_on_one_core if one_core else self.workers.run
        run(plan, run_batch)


def windows(source: Iterator[Any], window: int, *, characters: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield windows of texts, each with the position of its first text; raises InputTypeError as ``take_texts``.

    Args:
        source: the texts.
        window: the largest number of texts in a window.
        characters: a window ends with the text that fills it up to so many characters; None for no limit.

    >>> list(windows(iter(["a", "bb", "ccc", "d"]), 9, characters=3))
    [(0, ['a', 'bb']), (2, ['ccc']), (3, ['d'])]
    """
    start = 0
    while texts := _take_window(source, window, start, characters):
        yield start, texts
        start += len(texts)


def _take_window(source: Iterator[Any], window: int, start: int, characters: int | None) -> list[str]:
    if characters is None:
        return take_texts(source, window, start)
    texts: list[str] = []
    while len(texts) < window and characters > 0 and (more := take_texts(source, 1, start + len(texts))):
        texts += more
        characters -= len(more[0])
    return texts
