"""Where what others raise becomes ours: the system's errors, huggingface_hub's, pip's and ONNX Runtime's."""

import contextlib
from collections.abc import Iterator

from embedge.errors import EmbedgeError, find_surrogate, short

_LONGEST_REASON = 300  # characters


@contextlib.contextmanager
def ours(kind: type[EmbedgeError], fact: str, mend: str) -> Iterator[None]:
    """Raises an error of ours for whatever else the block raises: ``fact`` (reason); ``mend``."""
    try:
        yield
    except (EmbedgeError, ImportError, MemoryError):  # a package or memory that lacks is no fault of what is read
        raise
    except Exception as error:  # of the system, huggingface_hub, zipfile or ONNX Runtime, which share no other base
        raise kind(f"{fact} ({reason_of(error)}); {mend}") from error


def check_unicode(kind: type[EmbedgeError], name: str, *, what: str) -> None:
    """Raises an error of ours where a name, which to the system is any bytes, is none that a manifest can hold."""
    if find_surrogate(name):
        raise kind(f"the name of {what} {name!r} is no Unicode; rename it")


def reason_of(error: BaseException) -> str:
    """What an error says, in one line of a bounded length."""
    said = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return short(said, write=str, most=_LONGEST_REASON) if said and isinstance(said, str) else type(error).__name__
