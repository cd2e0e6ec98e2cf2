"""The tokenizers library: one border, where whatever it raises becomes one CheckpointError."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer

from embedge.bundle.paths import open_regular
from embedge.errors import CheckpointError, EmbedgeError
from embedge.inference.tokenizer_file import is_fault
from embedge_export.checkpoint.added_tokens import check_lengths


@contextmanager
def tokenizer_errors(path: Path, what: str = "is not a tokenizer") -> Iterator[None]:
    """Raises CheckpointError for what the block raises about the tokenizer of a path; ``what`` is wrong with it.

    The library raises bare Exception, and where its Rust panics a PanicException, which is a BaseException.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, EmbedgeError) or not is_fault(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} {what} ({reason}); get the checkpoint again") from error


def open_tokenizer(path: Path) -> tuple[bytes, Tokenizer]:
    """A tokenizer.json's bytes, and the tokenizer that it is.

    Raises:
        CheckpointError: it cannot be read, or is no tokenizer.
    """
    with tokenizer_errors(path):
        with open_regular(path) as file:
            data = file.read()
        added = json.loads(data).get("added_tokens") or ()
        check_lengths((str(token["content"]) for token in added), where=str(path))
        return data, Tokenizer.from_buffer(data)
