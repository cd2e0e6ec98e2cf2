"""How fast the slots run, and how long what waits will take."""

_NEWEST = 0.2  # weight of the newest batch in the average (exponential smoothing)
_UNKNOWN = 1.0  # seconds, before a batch was run
_SHORTEST, _LONGEST = 0.1, 60.0  # seconds


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
