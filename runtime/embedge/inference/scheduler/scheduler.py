"""The scheduler: takes the jobs of coroutines, and runs them on threads, one batch on each core."""

from __future__ import annotations

import asyncio
import os
import threading
from time import perf_counter
from typing import TypeVar

from embedge.errors import OverloadedError
from embedge.inference.engine import Engine
from embedge.inference.jobs import Job
from embedge.inference.scheduler.at_exit import end_before_exit
from embedge.inference.scheduler.inbox import Inbox
from embedge.inference.scheduler.request import Chunk, Request, settle
from embedge.inference.scheduler.shared_batch import run_pieces
from embedge.inference.scheduler.speed import Speed
from embedge.inference.scheduler.threads import Threads
from embedge.inference.scheduler.waiting import Piece, WaitingTexts
from embedge.progress import progress

Result = TypeVar("Result")


class Scheduler:
    """Runs the jobs of one engine that coroutines await.

    It has one *slot* for each core that the engine uses, and one for a GPU. A slot runs one batch at a time. A request
    goes this way: a thread tokenises it, and its texts wait in the queue, which they leave at once if a slot is idle.
    If no other request is there, it runs as a plain call does, on all cores if that is faster. When the last idle slot
    is taken, texts of all requests share batches: on a CPU texts of equal token count, on a GPU whatever its planner
    puts together. There is one thread more than slots, so that texts are tokenised while all slots are busy.

    Args:
        engine: tokenises and runs.
        max_waiting_texts: the largest number of texts that wait.
        max_waiting_tokens: the largest number of tokens that wait.
    """

    def __init__(self, engine: Engine, *, max_waiting_texts: int, max_waiting_tokens: int) -> None:
        self._engine = engine
        self._max_waiting_texts = max_waiting_texts
        self._max_waiting_tokens = max_waiting_tokens
        self._slots = engine.workers.cores
        self._is_closed = False
        self._begin()
        end_before_exit(self)

    def _begin(self) -> None:
        """Begin with no request and no thread."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._inbox = Inbox()
        self._waiting = WaitingTexts(self._engine.schedule)
        self._tokenising = 0
        self._running = 0
        self._speed = Speed(self._slots)
        self._threads = Threads(self._step, most=self._slots + 1)
        self._closing: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def _recover_from_fork(self) -> None:
        """In a forked child, forget the requests and the threads of the parent."""
        if os.getpid() != self._process:
            self._begin()

    @property
    def waiting(self) -> tuple[int, int]:
        """How many texts wait for a slot, and their tokens; texts that are not tokenised yet count as no tokens."""
        self._recover_from_fork()
        return self._waiting.texts + self._inbox.texts, self._waiting.tokens

    async def run(self, job: Job[Result]) -> Result:
        """Return the result of a job. If the caller is cancelled, what still waits is not run.

        The caller tells about truncated texts.

        Raises:
            OverloadedError: too many texts or tokens wait.
            RuntimeError: the scheduler is closed.
            InputValueError: as for ``Engine.run``.
            BundleError: as for ``Engine.run``.
        """
        self._recover_from_fork()
        loop = asyncio.get_running_loop()
        with progress(len(job.lengths), job.options.show_progress_bar) as advance:
            request = Request(job, loop, loop.create_future(), advance)
            try:
                self._submit(request)
                result: Result = await request.future
            finally:
                if not request.is_over:
                    self._cancel(request)
            return result

    async def close(self) -> None:
        """Take no more jobs, and return when those that were taken have ended."""
        self._recover_from_fork()
        self._is_closed = True
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        with self._lock:
            self._closing.append((loop, ended))
            self._tell_closing()
        await ended
        self._threads.stop()

    def abandon(self) -> bool:
        """Take no more jobs, drop those that wait, and return whether nothing runs; before the process ends."""
        if os.getpid() != self._process:
            return True
        self._is_closed = True
        with self._lock:
            self._inbox, self._waiting = Inbox(), WaitingTexts(self._engine.schedule)
            return not self._tokenising and not self._running

    def _submit(self, request: Request) -> None:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the model is closed, and takes no more requests; make a new one")
            if not request.left:
                request.complete()
                return
            waiting = self._waiting.texts + self._inbox.texts
            if waiting:
                self._check_room(waiting + request.left, self._max_waiting_texts, "texts")
            self._inbox.add(request)
        self._threads.wake()

    def _check_room(self, count: int, most: int, kind: str) -> None:
        """Raise OverloadedError if more than ``most`` texts or tokens would wait."""
        if count > most:
            seconds = self._speed.seconds(self._waiting.tokens)
            raise OverloadedError(
                f"{count} {kind} would wait, and at most {most} may; try again in {seconds:.1f} seconds, "
                f"or pass a larger max_waiting_{kind}",
                retry_after=seconds,
            )

    def _cancel(self, request: Request) -> None:
        """Take a request's texts out of the queue; a batch that runs is finished, and its output dropped."""
        with self._lock:
            request.is_over = True
            self._inbox.remove(request)
            self._waiting.remove(request)
            self._tell_closing()

    def _step(self) -> bool:
        """Tokenise a request or run a batch, on one of the threads; return False if there is nothing to do."""
        with self._lock:
            can_run = self._running < self._slots and bool(self._waiting)
            # Long requests: one thread at a time, as long as others can run.
            request = self._inbox.take(long=not (can_run and self._tokenising))
            if request is not None:
                self._tokenising += 1
            elif can_run:
                self._running += 1
                pieces, one_core = self._take()
            else:
                return False
            is_more = self._running < self._slots and bool(self._waiting)
        if is_more:
            self._threads.wake()
        if request is not None:
            self._tokenise(request)
        else:
            self._run(pieces, one_core=one_core)
        return True

    def _take(self) -> tuple[list[Piece], bool]:
        """Take what the slot that was just taken runs, and whether it runs on one core."""
        if self._running == 1 and not self._inbox:
            alone = self._waiting.take_only_request(fewer_than=self._slots)
            if alone:
                return alone, False
        return self._waiting.take(share=self._running == self._slots), True

    def _tokenise(self, request: Request) -> None:
        """Tokenise a request, and add its texts to the queue, chunk by chunk."""
        job, start, error = request.job, 0, None
        try:
            for first, end in self._engine.schedule.chunks(job.lengths):
                tokens, plan = self._engine.plan(job.tokenise((first, end)), job.options)
                job.truncation.add(tokens)
                with self._lock:
                    if request.is_over:
                        break
                    if not start and self._waiting:
                        added = sum(batch.total_tokens for batch in plan)
                        self._check_room(self._waiting.tokens + added, self._max_waiting_tokens, "tokens")
                    self._waiting.add(Chunk(request, tokens, start), plan)
                    self._inbox.forget(len(tokens))
                start = end
                if end < len(job.lengths):
                    self._threads.wake()  # another thread runs this chunk meanwhile
        except BaseException as caught:  # the caller gets it, whatever it is
            error = caught
        with self._lock:
            self._tokenising -= 1
            self._inbox.forget(len(job.lengths) - start)
            if error is not None:
                self._end(request, error)
            self._tell_closing()

    def _run(self, pieces: list[Piece], *, one_core: bool) -> None:
        """Run some texts in a slot, deliver what is complete, and free the slot."""
        began = perf_counter()
        errors = self._try(pieces, one_core=one_core)
        seconds = perf_counter() - began
        complete: list[Request] = []
        with self._lock:
            if not errors:
                self._speed.record(sum(len(piece.members) * piece.tokens for piece in pieces), seconds)
            for piece in pieces:
                request = piece.chunk.request
                request.left -= len(piece.members)
                if request in errors:
                    self._end(request, errors[request])
                elif not request.left and not request.is_over:
                    complete.append(request)
        for request in complete:
            request.complete()
        with self._lock:
            self._running -= 1
            self._tell_closing()

    def _try(self, pieces: list[Piece], *, one_core: bool) -> dict[Request, BaseException]:
        """Run some texts; return the errors. If a batch of several requests fails, each runs again alone."""
        try:
            run_pieces(self._engine, pieces, one_core=one_core)
        except BaseException as error:
            if len(pieces) == 1 or not one_core or not isinstance(error, Exception):
                return {piece.chunk.request: error for piece in pieces}
            errors: dict[Request, BaseException] = {}
            for piece in pieces:
                errors |= self._try([piece], one_core=True)
            return errors
        return {}

    def _end(self, request: Request, error: BaseException) -> None:
        """Deliver an error, and drop what waits of the request; the lock is held."""
        if not request.is_over:
            self._waiting.remove(request)
            request.fail(error)

    def _tell_closing(self) -> None:
        """Tell those who close the scheduler, if nothing is left to do; the lock is held."""
        if self._inbox or self._waiting or self._running or self._tokenising:
            return
        for loop, ended in self._closing:
            settle(loop, ended, None)
        self._closing.clear()
