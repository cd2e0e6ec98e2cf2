"""The scheduler: runs the jobs of one engine that coroutines await."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

from embedge.errors import warn
from embedge.inference.engine import Engine
from embedge.inference.jobs import Job
from embedge.inference.scheduler.bounds import Bounds
from embedge.inference.scheduler.request import Request
from embedge.inference.scheduler.slots import Slots
from embedge.progress import progress

Result = TypeVar("Result")


class Scheduler:
    """Runs the jobs of one engine that coroutines await.

    It has one slot for each core that the engine uses, and one for a GPU; see ``Slots``. Coroutines of several event
    loops may share it.

    Args:
        engine: tokenises and runs.
        max_waiting_texts: the largest number of texts that wait.
        max_waiting_tokens: the largest number of tokens that wait.

    Attributes:
        engine: tokenises and runs; its ``jobs`` make what ``run`` takes.
    """

    def __init__(self, engine: Engine, *, max_waiting_texts: int, max_waiting_tokens: int) -> None:
        self.engine = engine
        self._bounds = Bounds(max_waiting_texts, max_waiting_tokens)
        self._slots = Slots(engine, self._bounds)
        self._process = os.getpid()

    def _recover_from_fork(self) -> None:
        """In a forked child, forget the requests and the threads of the parent."""
        if os.getpid() != self._process:
            old = self._slots
            self._process, self._slots = os.getpid(), Slots(self.engine, self._bounds)
            self._slots.is_closed, self._slots.on_batch = old.is_closed, old.on_batch

    @property
    def waiting(self) -> tuple[int, int]:
        """How many texts wait for a slot, and their tokens; texts that are not tokenised yet count as no tokens."""
        self._recover_from_fork()
        return self._slots.waiting

    def observe(self, on_batch: Callable[[int, int], object]) -> None:
        """Call a function with the texts and the tokens of each batch that has run, on the thread that ran it."""
        self._slots.on_batch = on_batch

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
                self._slots.submit(request)
                result: Result = await request.future
            finally:
                if not request.is_over:
                    self._slots.cancel(request)
        for message, category in request.warnings:
            warn(message, category)
        return result

    async def close(self) -> None:
        """Take no more jobs, and return when those that were taken have ended."""
        self._recover_from_fork()
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        self._slots.close(loop, ended)
        await ended
        self._slots.stop_threads()
