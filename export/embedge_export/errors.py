"""Errors of the system, of huggingface_hub, pip and ONNX Runtime become errors of embedge."""

import contextlib
from collections.abc import Iterator

from embedge.errors import EmbedgeError, find_surrogate, short

_LONGEST_REASON = 300  # characters


@contextlib.contextmanager
def translate_errors(kind: type[EmbedgeError], fact: str, remedy: str) -> Iterator[None]:
    """Raise ``kind`` for any foreign error in the block, with the message ``fact (reason); remedy``.

    Errors of embedge pass through unchanged. So do ImportError and MemoryError: a missing package or too little memory
    does not mean that the file is broken.
    """
    try:
        yield
    except (EmbedgeError, ImportError, MemoryError):
        raise
    except Exception as error:  # the system, huggingface_hub, zipfile and ONNX Runtime share no other base class
        raise kind(f"{fact} ({reason_of(error)}); {remedy}") from error


def check_unicode(kind: type[EmbedgeError], name: str, *, what: str) -> None:
    """Raise ``kind`` if a file name is not valid Unicode.

    A POSIX file name is any sequence of bytes; the manifest is JSON and stores only Unicode.
    """
    if find_surrogate(name):
        raise kind(f"the name of {what} is not valid Unicode, found {name!r}; rename it")


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, at most 300 characters; the name of its class if it has none."""
    said = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return short(said, write=str, most=_LONGEST_REASON) if said and isinstance(said, str) else type(error).__name__
