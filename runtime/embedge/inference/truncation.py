"""Truncated texts: counted over one call, and reported once as a warning or an error."""

from embedge.errors import InputValueError, TruncationWarning, warn
from embedge.inference.options import OnTruncate
from embedge.inference.tokens import Tokens


class Truncation:
    """Counts the truncated texts of one call, and ignores them, warns or raises, as ``on_truncate`` says.

    Args:
        max_tokens: the model's limit.
        on_truncate: ``ignore``, ``warn`` or ``error``.
        kind: what messages call an input, ``text`` or ``pair``.
    """

    def __init__(self, max_tokens: int, on_truncate: OnTruncate, *, kind: str = "text") -> None:
        self._max_tokens = max_tokens
        self._on_truncate = on_truncate
        self._kind = kind
        self._texts = 0
        self._positions: list[int] = []
        self._lost = "their end"
        self._max_characters: int | None = None

    def add(self, tokens: Tokens) -> None:
        """Count the truncated texts; raise InputValueError for one if ``on_truncate`` is ``error``."""
        self._positions += (self._texts + position for position in tokens.truncated)
        self._texts += len(tokens)
        self._max_characters = self._max_characters or tokens.max_characters
        self._lost = "their start" if tokens.side == "left" else "their end"
        if self._positions and self._on_truncate == "error":
            raise InputValueError(f"{self._message()}; split them, or pass on_truncate='warn' to drop {self._lost}")

    @property
    def positions(self) -> list[int]:
        """The positions of the truncated texts, ascending."""
        return self._positions

    def warn(self) -> None:
        """Warn once about all truncated texts, if there are any and ``on_truncate`` is ``warn``."""
        if self._positions and self._on_truncate == "warn":
            warn(f"{self._message()} and lost {self._lost}; split them", TruncationWarning)

    def _message(self) -> str:
        # A text may be too long in characters alone, if it has a long run that is few tokens.
        characters = f" or {self._max_characters} characters" if self._max_characters else ""
        return (
            f"{len(self._positions)} of {self._texts} {self._kind}s are longer than "
            f"{self._max_tokens} tokens{characters} (the first is {self._kind} {self._positions[0]})"
        )
