"""Writes the output of `embedge embed`: JSON lines, .npy or .npz."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import click

from embedge.bundle.atomic_write import replacing
from embedge.bundle.paths import expand, resolve_links
from embedge.command.write_npz import Npz, write_npy_header
from embedge.errors import InputValueError, is_unseen
from embedge.text_files import Item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.inference.embeddings import Embedding, Embeddings


class Writer(Protocol):
    """Writes the vectors of texts one by one."""

    def begin(self, empty: "Embeddings", dimension: int) -> None:
        """Take the kinds of vectors, and their types, as the vectors of no text. Called once, first.

        Args:
            empty: the vectors of no text; dense ones as an array [0, dimension of the output].
            dimension: the model's dimension, which is that of multi-vectors.
        """

    def write(self, item: Item, embedding: "Embedding") -> None:
        """Write or store the vectors of an item."""

    def close(self) -> None:
        """Write what can only be written after the last vector."""


@contextlib.contextmanager
def open_writer(output: str | None, *, only_dense: bool = True) -> Iterator[Writer]:
    """Open a writer for a file by the ending of its name, or for JSON lines on stdout if ``output`` is None or ``-``.

    The file appears, complete, when the block ends without an exception.

    Args:
        output: the option -o.
        only_dense: whether there are only dense vectors, which a .npy file can hold.

    Raises:
        UsageError: the name has another ending, or is that of a directory or a pipe; or the file cannot hold the kinds.
        InputValueError: stdout is closed, or the file cannot be written.
    """
    if output is None or output == "-":
        if sys.stdout is None:
            raise InputValueError("stdout is closed; give -o FILE")
        yield JsonLines(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = _check_path(output)
    if not only_dense and Path(output).suffix.lower() == ".npy":
        raise click.UsageError("a .npy file holds dense vectors only; give -o FILE.npz or FILE.jsonl")
    block_error: BaseException | None = None  # raised by the caller's block, and not by writing the file
    try:
        with replacing(path) as file:
            writer = _WRITERS[Path(output).suffix.lower()](file, path.parent)
            try:
                yield writer
            except BaseException as error:
                block_error = error
                raise
            writer.close()
    except OSError as error:
        if error is block_error:
            raise
        raise _unusable(output, error) from error


def _check_path(output: str) -> Path:
    """Return the file to write. For a link that is the file that it points to, so that the link stays a link."""
    if Path(output).suffix.lower() not in _WRITERS:
        name = output.rpartition("/")[2]
        raise click.UsageError(f"-o must end in {', '.join(_WRITERS)}, found {name!r}; use - for stdout")
    path = resolve_links(expand(output, what="-o", error=InputValueError), what="-o", error=InputValueError)
    try:
        if not path.parent.is_dir():
            raise click.UsageError(f"-o {output}: no such directory, {path.parent}")
        if path.is_dir():
            raise click.UsageError(f"-o {output} is a directory; give the name of a file")
        if path.exists() and not path.is_file():  # a file would replace a pipe, and the pipe's reader would wait
            raise click.UsageError(f"-o {output} is not a regular file; leave -o out and redirect stdout to it")
    except OSError as error:
        raise _unusable(output, error) from error
    return path


def _unusable(output: str, error: OSError) -> InputValueError:
    return InputValueError(
        f"-o {output} cannot be written ({error.strerror or error}); give another file, or free some space"
    )


def json_line(data: Mapping[str, Any]) -> str:
    r"""JSON in one line, with escapes for the characters that end a line or move a terminal's cursor.

    >>> json_line({"text": "東\u2028\x9b"})
    '{"text": "東\\u2028\\u009b"}'
    """
    text = json.dumps(data, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(letter):04x}" if is_unseen(letter) else letter for letter in text)


def _numbers(vector: "NDArray[np.generic]") -> str:
    """A vector in JSON. Nine significant digits give a float32 back exactly."""
    return f"[{', '.join(f'{number:.9g}' for number in vector.tolist())}]"


class JsonLines:
    """A line for each text, with its "index", and the input's "id" if it has one; floats are exact.

    The kinds of vectors are "embedding": [...], "sparse": {"indices": [...], "values": [...]}, and "multi_vector":
    [[...], ...], with a list for each token but the first.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._index = 0

    def begin(self, empty: "Embeddings", dimension: int) -> None:
        """Write nothing: JSON lines have no header."""

    def write(self, item: Item, embedding: "Embedding") -> None:
        """Write one line."""
        head: dict[str, str | int] = {"index": self._index}
        if item.id is not None:
            head["id"] = item.id
        line = json_line(head)[:-1]
        if embedding.dense is not None:
            line += f', "embedding": {_numbers(embedding.dense)}'
        if (sparse := embedding.sparse) is not None:
            line += f', "sparse": {{"indices": {sparse.indices.tolist()}, "values": {_numbers(sparse.values)}}}'
        if embedding.multi_vector is not None:
            line += f', "multi_vector": [{", ".join(map(_numbers, embedding.multi_vector))}]'
        self._file.write(f"{line}}}\n".encode())
        self._index += 1

    def close(self) -> None:
        """Write nothing more."""


class Npy:
    """A .npy array [n, dimension], written row by row: memory does not grow with n."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0

    def begin(self, empty: "Embeddings", dimension: int) -> None:
        """Write the header, with 0 rows."""
        assert empty.dense is not None
        self._empty = empty.dense
        self._header()

    def write(self, item: Item, embedding: "Embedding") -> None:
        """Write one row."""
        assert embedding.dense is not None
        self._file.write(embedding.dense.tobytes())
        self._rows += 1

    def close(self) -> None:
        """Write the header again, with the number of rows. numpy pads the header, so that any number fits."""
        end = self._file.tell()
        self._file.seek(0)
        self._header()
        self._file.seek(end)

    def _header(self) -> None:
        write_npy_header(self._file, self._empty, self._rows)


# Each makes a writer from the file, and the folder that it is in.
_WRITERS: dict[str, Callable[[IO[bytes], Path], Writer]] = {
    ".npy": lambda file, folder: Npy(file),
    ".npz": Npz,
    ".jsonl": lambda file, folder: JsonLines(file),
}
