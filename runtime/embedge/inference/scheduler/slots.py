"""Slots for the cores: threads that tokenise the requests that come, and run one batch in each slot."""

from __future__ import annotations

import os
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from time import perf_counter
from typing import Literal

from embedge.inference.engine import Engine
from embedge.inference.inputs import tokenise_together
from embedge.inference.scheduler.at_exit import end_before_exit
from embedge.inference.scheduler.bounds import Bounds, Speed
from embedge.inference.scheduler.inbox import Inbox
from embedge.inference.scheduler.request import Chunk, Request, complete, settle
from embedge.inference.scheduler.shared_batch import run_pieces
from embedge.inference.scheduler.threads import Threads
from embedge.inference.scheduler.waiting import Piece, WaitingTexts
from embedge.inference.tokens import Tokens


class Slots:
    """The slots of one engine, and what waits for them; any thread may call it.

    A thread tokenises a request, and its texts wait in the queue, which they leave at once if a slot is idle. If no
    other request is there, it runs as a plain call does, on all cores if that is faster. Once the last idle slot is
    taken, texts of all requests share batches: on a CPU texts of equal token count, on a GPU whatever its planner puts
    together. There is one thread more than slots, so that texts are tokenised while all slots are busy.

    Attributes:
        is_closed: whether no more requests are taken.
        on_batch: called with the texts and the tokens of each batch that has run, on the thread that ran it.
    """

    def __init__(self, engine: Engine, bounds: Bounds) -> None:
        self.is_closed = False
        self.on_batch: Callable[[int, int], object] | None = None
        self._engine = engine
        self._bounds = bounds
        self._count = engine.workers.cores
        self._lock = threading.Lock()
        self._inbox = Inbox()
        self._waiting = WaitingTexts(engine.schedule)
        self._tokenising = 0
        self._running = 0
        self._speed = Speed(self._count)
        self._threads = Threads(self._step, most=self._count + 1)
        self._closing: list[tuple[AbstractEventLoop, Future[None]]] = []
        self._process = os.getpid()
        end_before_exit(self)

    @property
    def waiting(self) -> tuple[int, int]:
        """How many texts wait for a slot, and their tokens; texts that are not tokenised yet count as no tokens."""
        return self._waiting.texts + self._inbox.texts, self._waiting.tokens

    def submit(self, request: Request) -> None:
        """Take a request; a thread begins it at once if a slot is idle.

        Raises:
            OverloadedError: too many texts or tokens wait.
            RuntimeError: the slots are closed.
        """
        with self._lock:
            if self.is_closed:
                raise RuntimeError("the model is closed, and takes no more requests; make a new one")
            if not request.left:
                complete([request])
                return
            waiting = self._waiting.texts + self._inbox.texts
            if waiting:
                self._check_room("texts", waiting + request.left)
            self._inbox.add(request)
        self._threads.wake()

    def cancel(self, request: Request) -> None:
        """Take a request's texts out of the queue; a batch that runs is finished, and its output dropped."""
        with self._lock:
            request.is_over = True
            self._inbox.remove(request)
            self._waiting.remove(request)
            self._tell_closing()

    def close(self, loop: AbstractEventLoop, ended: Future[None]) -> None:
        """Take no more requests, and settle the future when those that were taken have ended."""
        with self._lock:
            self.is_closed = True
            self._closing.append((loop, ended))
            self._tell_closing()

    def stop_threads(self) -> None:
        """End the threads once they find no work."""
        self._threads.stop()

    def abandon(self) -> bool:
        """Take no more requests, drop those that wait, and return whether nothing runs; before the process ends.

        In a forked child, nothing of its parent runs.
        """
        if os.getpid() != self._process:
            return True
        with self._lock:
            self.is_closed = True
            self._inbox, self._waiting = Inbox(), WaitingTexts(self._engine.schedule)
            return not self._tokenising and not self._running

    def _check_room(self, kind: Literal["texts", "tokens"], count: int) -> None:
        self._bounds.check(kind, count, self._speed.seconds(self._waiting.tokens))

    def _step(self) -> bool:
        """Tokenise requests or run a batch, on one of the threads; return False if there is nothing to do."""
        with self._lock:
            can_run = self._running < self._count and bool(self._waiting)
            requests = [] if can_run and self._waiting.tokens >= self._engine.schedule.enough else self._next(can_run)
            if requests:
                self._tokenising += 1
            elif can_run:
                self._running += 1
                pieces, one_core = self._take()
            else:
                return False
            is_more = self._running < self._count and bool(self._waiting)
            is_more |= not requests and bool(self._inbox)  # for another thread, while this one runs a batch
        if is_more:
            self._threads.wake()
        if requests:
            self._tokenise(requests)
        else:
            self._run(pieces, one_core=one_core)
        return True

    def _next(self, can_run: bool) -> list[Request]:
        """Return what to tokenise next: a share of the short requests, because the other threads may tokenise, too.

        Long requests: one thread at a time, as long as others can run.
        """
        others = self._count - self._running
        return self._inbox.take(long=not (can_run and self._tokenising), among=others + 1)

    def _take(self) -> tuple[list[Piece], bool]:
        """Take what the slot that was just taken runs, and whether it runs on one core."""
        if self._running == 1 and not self._inbox:
            alone = self._waiting.take_only_request(fewer_than=self._count)
            if alone:
                return alone, False
        return self._waiting.take(share=self._running == self._count), True

    def _tokenise(self, requests: list[Request]) -> None:
        """Tokenise requests, and add their texts to the queue: one of them chunk by chunk, several in one call."""
        together = tokenise_together([request.job.inputs for request in requests]) if len(requests) > 1 else None
        for number, request in enumerate(requests):
            self._enqueue(request, together[number] if together else None)
        with self._lock:
            self._tokenising -= 1
            self._tell_closing()

    def _enqueue(self, request: Request, tokens: Tokens | None) -> None:
        """Add a request's texts to the queue, with their tokens; None for those that are not tokenised yet."""
        job, start, error = request.job, 0, None
        chunks = [(0, len(tokens))] if tokens else self._engine.schedule.chunks(job.lengths)
        try:
            for first, end in chunks:
                found, plan = self._engine.plan(tokens or job.inputs.tokenise(first, end), job.options)
                job.truncation.add(found)
                with self._lock:
                    if request.is_over:
                        break
                    if not start and self._waiting:
                        self._check_room("tokens", self._waiting.tokens + len(found.values))
                    self._waiting.add(Chunk(request, found, start), plan)
                    self._inbox.forget(len(found))
                start = end
                if end < len(job.lengths):
                    self._threads.wake()  # another thread runs this chunk meanwhile
        except BaseException as caught:  # the caller gets it, whatever it is
            error = caught
        with self._lock:
            self._inbox.forget(len(job.lengths) - start)
            if error is not None:
                self._end(request, error)

    def _run(self, pieces: list[Piece], *, one_core: bool) -> None:
        """Run some texts in a slot, deliver what is complete, and free the slot."""
        began = perf_counter()
        errors = self._try(pieces, one_core=one_core)
        seconds = perf_counter() - began
        if self.on_batch:
            self._tell_batches(self.on_batch, pieces, one_core=one_core)
        ended: list[Request] = []
        with self._lock:
            if not errors:
                self._speed.record(sum(piece.total_tokens for piece in pieces), seconds)
            for piece in pieces:
                request = piece.chunk.request
                request.left -= len(piece.members)
                if request in errors:
                    self._end(request, errors[request])
                elif not request.left and not request.is_over:
                    ended.append(request)
        complete(ended)
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

    def _tell_batches(self, tell: Callable[[int, int], object], pieces: list[Piece], *, one_core: bool) -> None:
        """Tell the texts and tokens of the batches that ran: on one core, all pieces are one batch."""
        for batch in [pieces] if one_core else [[piece] for piece in pieces]:
            tell(sum(len(piece.members) for piece in batch), sum(piece.total_tokens for piece in batch))

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
            settle(loop, [(ended, None, None)])
        self._closing.clear()
