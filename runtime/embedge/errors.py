"""The errors that embedge raises, and the functions that write their messages.

    EmbedgeError
    ├── BundleError                 a directory that cannot be used as a bundle
    │   ├── BundleNotFoundError     there is no bundle with that name, or at that path
    │   ├── BundleCorruptError      a file of the bundle is missing, incomplete or changed
    │   └── PrecisionNotFoundError  the bundle lacks the requested precision
    ├── CheckpointError             a checkpoint that cannot be found, read or exported
    ├── HubError                    the hub cannot be reached, refuses a request, or sends a wrong answer
    ├── QualityError                an exported graph differs from its reference by more than the recipe allows
    ├── MissingExtraError           (ImportError) an optional package is not installed; the message has the pip command
    ├── ProviderError               an ONNX Runtime execution provider is not available or did not start
    ├── InputTypeError              (TypeError) an input is not a string, or an option has the wrong type
    ├── InputValueError             (ValueError) a text, the value of an option or an input file cannot be used
    └── OverloadedError             too many texts wait already; ``retry_after`` says when to try again

    TruncationWarning               (UserWarning) texts longer than the model's max_tokens were truncated

A message has three parts: the fact, the value or the state that caused it, and the next command to type. It is one line
that every terminal can show: control characters, line ends and characters that reverse the direction of text are
escaped.
"""

import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

# Characters that change the direction of text (Unicode's property Bidi_Control), and line and paragraph separators.
_UNSEEN = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONGEST_VALUE = 40  # characters of a value in a message


def is_unseen(letter: str) -> bool:
    r"""Whether a terminal acts on a character instead of showing it, or UTF-8 cannot encode it (a lone surrogate).

    >>> [is_unseen(letter) for letter in "a 東\\\n\x1b\x7f\x9b\u202e\udc80"]
    [False, False, False, False, True, True, True, True, True, True]
    """
    code = ord(letter)
    return code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or letter in _UNSEEN


def escape(text: str) -> str:
    r"""Return a text as one line that every terminal can show, with Python's escapes for the other characters.

    A text that is escaped already is returned unchanged.

    >>> print(escape("東\n\x1b[2J"), escape(escape("\u2028")))
    東\n\x1b[2J \u2028
    """
    if text.isprintable():
        return text
    return "".join(letter.encode("unicode_escape").decode() if is_unseen(letter) else letter for letter in text)


def short(value: object, *, write: "Callable[[Any], str]" = repr, most: int = _LONGEST_VALUE) -> str:
    """Return a value as text of at most ``most`` characters, for a message; longer text ends in ``...``.

    A value that cannot be converted to text, such as one that is nested too deeply, is shown by its type's name.

    >>> short("a" * 50)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    try:
        text = write(value)
    except Exception:  # RecursionError, or whatever the value's own method raises
        text = type(value).__name__
    return text if len(text) <= most else text[: most - 3] + "..."


def find_surrogate(text: str) -> str | None:
    r"""Return the first lone surrogate of a text, which UTF-8 cannot encode, as ``U+D800``; None if there is none.

    >>> find_surrogate("a\ud800b"), find_surrogate("東")
    ('U+D800', None)
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"U+{ord(error.object[error.start]):04X}"
    return None


class EmbedgeError(Exception):
    """The base class of embedge's errors."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(escape(one) if isinstance(one, str) else one for one in args))


class BundleError(EmbedgeError):
    """A directory cannot be used as a bundle."""


class BundleNotFoundError(BundleError):
    """There is no bundle with that name in the cache, or at that path."""


class BundleCorruptError(BundleError):
    """A file of the bundle is missing, or its size or checksum differs from the manifest."""


class PrecisionNotFoundError(BundleError):
    """The bundle lacks the requested precision."""


class CheckpointError(EmbedgeError):
    """A checkpoint cannot be found, read or exported."""


class HubError(EmbedgeError):
    """The hub cannot be reached, refuses a request, or sends a wrong answer."""


class QualityError(EmbedgeError):
    """An exported graph differs from its reference by more than the recipe allows."""


class MissingExtraError(EmbedgeError, ImportError):
    """An optional package is not installed."""


class ProviderError(EmbedgeError):
    """An ONNX Runtime execution provider is not available or did not start."""


class InputTypeError(EmbedgeError, TypeError):
    """An input is not a string, or an option has the wrong type."""


class InputValueError(EmbedgeError, ValueError):
    """A text, the value of an option, or an input file cannot be used."""


class OverloadedError(EmbedgeError):
    """Too many texts or tokens wait already for an async model; nothing of the request was run.

    Attributes:
        retry_after: after how many seconds to try again, about when the texts that wait will have been run.
    """

    def __init__(self, *args: object, retry_after: float = 1.0) -> None:
        super().__init__(*args)
        self.retry_after = retry_after


class TruncationWarning(UserWarning):
    """Texts longer than the model's ``max_tokens`` were truncated at the model's ``truncation_side``."""


# Where ``warn`` puts warnings on a thread that has no caller; None where it issues them.
_KEPT: "ContextVar[list[tuple[str, type[Warning]]] | None]" = ContextVar("_KEPT", default=None)


@contextmanager
def keep_warnings() -> "Iterator[list[tuple[str, type[Warning]]]]":
    """Yield a list that gets the warnings of this context instead of the user, for ``warn`` in the caller's context."""
    kept: list[tuple[str, type[Warning]]] = []
    token = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(token)


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that names the caller's line: the nearest one on the stack that is not in embedge."""
    if (kept := _KEPT.get()) is not None:
        kept.append((message, category))
        return
    frame, level = sys._getframe().f_back, 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "embedge":
        frame, level = frame.f_back, level + 1
    warnings.warn(escape(message), category, stacklevel=level)
