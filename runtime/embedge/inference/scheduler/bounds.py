"""How much may wait, and how long what waits will take."""

from dataclasses import dataclass
from typing import Literal

from embedge.errors import OverloadedError

_NEWEST = 0.2  # weight of the newest batch in the average (exponential smoothing)
_UNKNOWN = 1.0  # seconds, before a batch was run
_SHORTEST, _LONGEST = 0.1, 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest queue.

    Attributes:
        texts: how many texts may wait.
        tokens: how many tokens they may have.
    """

    texts: int
    tokens: int

    def check(self, kind: Literal["texts", "tokens"], count: int, seconds: float) -> None:
        """Raise OverloadedError if so many texts or tokens are too many; what waits takes ``seconds``.

        >>> Bounds(texts=8, tokens=99).check("texts", 9, 2.5)
        Traceback (most recent call last):
        embedge.errors.OverloadedError: 9 texts would wait, and at most 8 may; try again in 2.5 seconds, or pass ...
        """
        most = self.texts if kind == "texts" else self.tokens
        if count > most:
            raise OverloadedError(
                f"{count} {kind} would wait, and at most {most} may; try again in {seconds:.1f} seconds, "
                f"or pass a larger max_waiting_{kind}",
                retry_after=seconds,
            )


class Speed:
    """The tokens that a slot runs in a second, averaged over the latest batches.

    Args:
        slots: how many slots run at the same time.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._tokens_per_second = 0.0

    def record(self, tokens: int, seconds: float) -> None:
        """Count a batch that ran."""
        speed = tokens / max(seconds, 1e-6)
        old = self._tokens_per_second or speed
        self._tokens_per_second = (1 - _NEWEST) * old + _NEWEST * speed

    def seconds(self, tokens: int) -> float:
        """Return how long so many waiting tokens will take, between 0.1 and 60 seconds; 1 while it is unknown.

        >>> speed = Speed(2)
        >>> speed.seconds(5000)
        1.0
        >>> speed.record(500, 0.5)
        >>> speed.seconds(5000), speed.seconds(10)
        (2.5, 0.1)
        """
        if not self._tokens_per_second:
            return _UNKNOWN
        return min(max(tokens / (self._tokens_per_second * self._slots), _SHORTEST), _LONGEST)
