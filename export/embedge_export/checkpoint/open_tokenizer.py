"""Opens a tokenizer.json; whatever the tokenizers library raises becomes a CheckpointError."""

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
def tokenizer_errors(path: Path, fact: str = "is not a tokenizer") -> Iterator[None]:
    """Raise CheckpointError for what the block raises about a tokenizer file; its message begins with path and fact.

    The library raises bare Exception. If its Rust code panics, it raises PanicException, which is a BaseException.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, EmbedgeError) or not is_fault(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path} {fact} ({reason}); download or copy the checkpoint again") from error


def open_tokenizer(path: Path) -> tuple[bytes, Tokenizer]:
    """Return the bytes of a tokenizer.json, and the tokenizer that they describe.

    Raises:
        CheckpointError: the file cannot be read, or does not describe a tokenizer.
    """
    with tokenizer_errors(path):
        with open_regular(path) as file:
            data = file.read()
        added = json.loads(data).get("added_tokens") or ()
        check_lengths((str(token["content"]) for token in added), where=str(path))
        return data, Tokenizer.from_buffer(data)
