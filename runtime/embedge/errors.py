"""Every error that embedge raises on purpose.

    EmbedgeError
    ├── BundleError                 a directory that cannot be used as a bundle
    │   ├── BundleNotFoundError     nothing of that name or at that path
    │   ├── BundleCorruptError      a file is missing, cut short or changed
    │   └── PrecisionNotFoundError  the bundle is whole but lacks the precision asked for
    ├── CheckpointError             a checkpoint that cannot be found, read or exported
    ├── HubError                    the hub cannot be reached, refuses, or sends something else than it should
    ├── QualityError                an exported graph strays from its reference by more than the recipe allows
    ├── MissingExtraError           (ImportError) an optional package is needed; names the pip command
    ├── ProviderError               an ONNX Runtime execution provider is not available or did not start
    ├── InputTypeError               (TypeError) an input that is no string (names its index), or an ill-typed option
    └── InputValueError              (ValueError) a string or an option that cannot be honoured

    TruncationWarning               (UserWarning) texts longer than the model's max_tokens lost their end (or start)

A message says the fact, what was found, and what to type next, in one line that any terminal can show: characters that
would move its cursor, turn its text round or end the line are escaped.
"""

import sys
import warnings

# What turns the direction of text (Unicode's property Bidi_Control), and its separators of lines and paragraphs.
_UNSEEN = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONGEST = 40  # characters of a value that a message shows


def is_unseen(letter: str) -> bool:
    r"""Whether a terminal would obey a character and not show it, or no file could hold it: a lone surrogate.

    >>> [is_unseen(letter) for letter in "a 東\\\n\x1b\x7f\x9b\u202e\udc80"]
    [False, False, False, False, True, True, True, True, True, True]
    """
    code = ord(letter)
    return code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or letter in _UNSEEN


def escape(text: str) -> str:
    r"""Text in one line that any terminal can show, with Python's escapes; what is escaped already stays as it is.

    >>> print(escape("東\n\x1b[2J"), escape(escape("\u2028")))
    東\n\x1b[2J \u2028
    """
    if text.isprintable():
        return text
    return "".join(letter.encode("unicode_escape").decode() if is_unseen(letter) else letter for letter in text)


def short(value: object) -> str:
    """A value as Python writes it, cut to 40 characters, for a message about it.

    >>> short("a" * 50)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    try:
        text = repr(value)
    except Exception:  # nested too deeply, or an object's own
        text = type(value).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


class EmbedgeError(Exception):
    """Base of all errors below."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(escape(one) if isinstance(one, str) else one for one in args))


class BundleError(EmbedgeError):
    """A directory cannot be used as a bundle."""


class BundleNotFoundError(BundleError):
    """There is no bundle of that name in the cache, or at that path."""


class BundleCorruptError(BundleError):
    """A file of the bundle is missing, or its size or checksum is not what the manifest says."""


class PrecisionNotFoundError(BundleError):
    """The bundle is whole but does not hold the precision asked for."""


class CheckpointError(EmbedgeError):
    """A checkpoint cannot be found, read or exported."""


class HubError(EmbedgeError):
    """The hub cannot be reached, refuses, or sends something else than it should."""


class QualityError(EmbedgeError):
    """An exported graph strays from its reference by more than the recipe allows."""


class MissingExtraError(EmbedgeError, ImportError):
    """An optional package is needed and not installed."""


class ProviderError(EmbedgeError):
    """An ONNX Runtime execution provider is not available or did not start."""


class InputTypeError(EmbedgeError, TypeError):
    """An input is not a string, or an option is of another type."""


class InputValueError(EmbedgeError, ValueError):
    """A string, or an option about strings, cannot be honoured."""


class TruncationWarning(UserWarning):
    """Texts longer than the model's ``max_tokens`` lost their end, or their start: the model's ``truncation_side``."""


def warn(message: str, category: type[Warning]) -> None:
    """A warning at the line that called embedge, however deep in here it is given."""
    frame, level = sys._getframe().f_back, 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "embedge":
        frame, level = frame.f_back, level + 1
    warnings.warn(escape(message), category, stacklevel=level)
