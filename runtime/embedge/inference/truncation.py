"""Texts that lost their end, or their start: counted over one call, and told once."""

from embedge.errors import InputValueError, TruncationWarning, warn
from embedge.inference.options import OnTruncate
from embedge.inference.tokenise import Tokens


class Truncation:
    """Counts the texts of one call that were truncated, and says so as the caller wants it.

    Args:
        max_tokens: of the model.
        on_truncate: what to do.
        kind: what is counted, in messages.
    """

    def __init__(self, max_tokens: int, on_truncate: OnTruncate, *, kind: str = "text") -> None:
        self._max_tokens = max_tokens
        self._on_truncate = on_truncate
        self._kind = kind
        self._texts = 0
        self._positions: list[int] = []
        self._lost = "what is beyond"
        self._unread: int | None = None

    def add(self, tokens: Tokens) -> None:
        """Count some more; raises InputValueError where a truncated one is an error."""
        self._positions += (self._texts + position for position in tokens.truncated)
        self._texts += len(tokens.ids)
        self._unread = self._unread or tokens.unread
        self._lost = "their start" if tokens.side == "left" else "what is beyond"
        if self._positions and self._on_truncate == "error":
            raise InputValueError(f"{self._message()}; split them, or pass on_truncate='warn' to drop {self._lost}")

    def warn(self) -> None:
        """Warn of all that were counted, if there are any."""
        if self._positions and self._on_truncate == "warn":
            warn(f"{self._message()} and lost {self._lost}; split them", TruncationWarning)

    def _message(self) -> str:
        # Those that are read may have fewer tokens, in runs that have no end.
        unread = f" or {self._unread} characters" if self._unread else ""
        return (
            f"{len(self._positions)} of {self._texts} {self._kind}s are longer than {self._max_tokens} tokens{unread} "
            f"(the first is {self._kind} {self._positions[0]})"
        )
