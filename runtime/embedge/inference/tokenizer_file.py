"""A bundle's ``tokenizer.json``, read; and what its library raises, turned into an error of ours."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from tokenizers import Tokenizer

from embedge.errors import BundleError, EmbedgeError


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer, stripped of whatever padding and truncation the file carries.

    Raises:
        BundleError: the file cannot be read, or is no tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
    except BaseException as error:
        raise_ours(error, f"{path} is not a tokenizer")
    return tokenizer


def raise_ours(error: BaseException, fact: str) -> NoReturn:
    """Raise a BundleError that states the fact and what the tokenizer said.

    Errors of ours go on as they are, and so does what is no fault of the tokenizer's.
    """
    if isinstance(error, EmbedgeError) or not is_fault(error):
        raise error
    said = " ".join(str(error).split()) or type(error).__name__
    raise BundleError(f"{fact} ({said}); export the bundle again") from error


def is_fault(error: BaseException) -> bool:
    """Whether the tokenizer failed; and not an interrupt, an exit, or want of memory.

    tokenizers raises bare Exception, and where Rust panics a BaseException, whose module cannot be imported.
    """
    panic = type(error).__module__ == "pyo3_runtime"
    return panic or (isinstance(error, Exception) and not isinstance(error, MemoryError))
