"""Read a bundle's ``tokenizer.json``, and turn errors of the tokenizers library into embedge's errors."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from tokenizers import Tokenizer

from embedge.errors import BundleError, EmbedgeError


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer, and remove the padding and truncation settings of its file.

    Raises:
        BundleError: the file cannot be read, or is not a tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
    except BaseException as error:
        raise_ours(error, f"{path} is not a tokenizer")
    return tokenizer


def raise_ours(error: BaseException, fact: str) -> NoReturn:
    """Raise a BundleError with ``fact`` and the tokenizer's own message.

    An error of embedge, and an error that is not the tokenizer's (see ``is_fault``), is raised again unchanged.
    """
    if isinstance(error, EmbedgeError) or not is_fault(error):
        raise error
    said = " ".join(str(error).split()) or type(error).__name__
    raise BundleError(f"{fact} ({said}); export the bundle again") from error


def is_fault(error: BaseException) -> bool:
    """Whether an error means that the tokenizer failed; an interrupt, an exit and a lack of memory do not.

    tokenizers raises bare Exception. If Rust panics, it raises a BaseException from a module that cannot be imported.
    """
    panic = type(error).__module__ == "pyo3_runtime"
    return panic or (isinstance(error, Exception) and not isinstance(error, MemoryError))
