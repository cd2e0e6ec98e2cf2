"""Requests that are not tokenised yet: short ones first."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from embedge.inference.scheduler.request import Request

_SHORT = 65_536  # characters; they are tokenised in some milliseconds


class Inbox:
    """Requests that are not tokenised yet, in the order of their arrival. The caller holds the scheduler's lock.

    Attributes:
        texts: how many texts they have, and requests that are tokenised now.
    """

    def __init__(self) -> None:
        self.texts = 0
        self._short: deque[Request] = deque()
        self._long: deque[Request] = deque()

    def __bool__(self) -> bool:
        return bool(self._short or self._long)

    def add(self, request: Request) -> None:
        """Add a request; its texts count until ``forget``."""
        self.texts += request.left
        (self._short if sum(request.job.lengths) <= _SHORT else self._long).append(request)

    def take(self, *, long: bool, among: int) -> list[Request]:
        """Return the next requests, which are tokenised together; empty if there is none.

        Args:
            long: whether to return a long request, alone, if no short one waits.
            among: how many threads may share the work. The short requests are divided among them.
        """
        if not self._short:
            return [self._long.popleft()] if self._long and long else []
        most = -(-len(self._short) // among)
        taken = [self._short.popleft()]
        characters = sum(taken[0].job.lengths)
        while len(taken) < most and self._short[0].job.inputs.joins(taken[0].job.inputs):
            characters += sum(self._short[0].job.lengths)
            if characters > _SHORT:
                break
            taken.append(self._short.popleft())
        return taken

    def remove(self, request: Request) -> None:
        """Remove a request, if it is there, and forget its texts."""
        for requests in (self._short, self._long):
            with suppress(ValueError):
                requests.remove(request)
                self.forget(request.left)

    def forget(self, texts: int) -> None:
        """Count so many texts no longer: they are tokenised, or nobody waits for them."""
        self.texts -= texts
