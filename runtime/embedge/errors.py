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
    ├── TextTypeError               (TypeError) an input that is no string (names its index), or an ill-typed option
    └── TextValueError              (ValueError) a string or an option that cannot be honoured

    TruncationWarning               (UserWarning) texts longer than the model's max_tokens lost their end (or start)

A message says the fact, what was found, and what to type next, in one line.
"""

import sys
import warnings


class EmbedgeError(Exception):
    """Base of all errors below."""


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


class TextTypeError(EmbedgeError, TypeError):
    """An input is not a string, or an option is of another type."""


class TextValueError(EmbedgeError, ValueError):
    """A string, or an option about strings, cannot be honoured."""


class TruncationWarning(UserWarning):
    """Texts longer than the model's ``max_tokens`` lost their end, or their start: the model's ``truncation_side``."""


def warn(message: str, category: type[Warning]) -> None:
    """A warning at the line that called embedge, however deep in here it is given."""
    frame, level = sys._getframe().f_back, 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "embedge":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
