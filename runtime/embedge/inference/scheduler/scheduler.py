"""Simple for now: each request runs on a thread."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from embedge.errors import OverloadedError
from embedge.inference.engine import Engine
from embedge.inference.jobs import Job

Result = TypeVar("Result")


class Scheduler:
    """Runs the jobs of one engine."""

    def __init__(self, engine: Engine, *, max_waiting_texts: int, max_waiting_tokens: int) -> None:
        self._engine = engine
        self._max_waiting_texts = max_waiting_texts
        self._texts = 0
        self._is_closed = False

    @property
    def waiting(self) -> tuple[int, int]:
        """How many texts wait, and their tokens."""
        return self._texts, 0

    async def run(self, job: Job[Result]) -> Result:
        """Run a job."""
        if self._is_closed:
            raise RuntimeError("the model is closed; make a new one")
        count = len(job.lengths)
        if self._texts and self._texts + count > self._max_waiting_texts:
            raise OverloadedError("too many texts wait; try again in 1 s", retry_after=1.0)
        self._texts += count
        try:
            return await asyncio.to_thread(self._engine.run_quietly, job)
        finally:
            self._texts -= count

    async def close(self) -> None:
        """Return when all requests have ended."""
        self._is_closed = True
        while self._texts:
            await asyncio.sleep(0.01)
