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
from embedge.errors import InputValueError, is_unseen
from embedge.text_files import Item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Writer(Protocol):
    """Writes vectors one by one."""

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """Take the shape and type of the vectors, as an array [0, dimension]. Called once, first."""

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Write or store the vector of an item."""

    def close(self) -> None:
        """Write what can only be written after the last vector."""


@contextlib.contextmanager
def open_writer(output: str | None) -> Iterator[Writer]:
    """Open a writer for a file by the ending of its name, or for JSON lines on stdout if ``output`` is None or ``-``.

    The file appears, complete, when the block ends without an exception.

    Raises:
        UsageError: the name has another ending, or is that of a directory or a pipe.
        InputValueError: stdout is closed, or the file cannot be written.
    """
    if output is None or output == "-":
        if sys.stdout is None:
            raise InputValueError("stdout is closed; give -o FILE")
        yield JsonLines(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = _check_path(output)
    block_error: BaseException | None = None  # raised by the caller's block, and not by writing the file
    try:
        with replacing(path) as file:
            writer = _WRITERS[Path(output).suffix.lower()](file)
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


class JsonLines:
    """A line {"index": 0, "embedding": [...]} for each text, with the input's "id" if it has one; floats are exact."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._index = 0

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """Write nothing: JSON lines have no header."""

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Write one line."""
        head: dict[str, str | int] = {"index": self._index}
        if item.id is not None:
            head["id"] = item.id
        # Nine significant digits give a float32 back exactly.
        numbers = ", ".join(f"{number:.9g}" for number in vector.tolist())
        line = f'{json_line(head)[:-1]}, "embedding": [{numbers}]}}\n'
        self._file.write(line.encode())
        self._index += 1

    def close(self) -> None:
        """Write nothing more."""


class Npy:
    """A .npy array [n, dimension], written row by row: memory does not grow with n."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """Write the header, with 0 rows."""
        self._empty = empty
        self._header()

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Write one row."""
        self._file.write(vector.tobytes())
        self._rows += 1

    def close(self) -> None:
        """Write the header again, with the number of rows. numpy pads the header, so that any number fits."""
        end = self._file.tell()
        self._file.seek(0)
        self._header()
        self._file.seek(end)

    def _header(self) -> None:
        from numpy.lib import format as npy

        shape = (self._rows, self._empty.shape[1])
        descr = npy.dtype_to_descr(self._empty.dtype)
        npy.write_array_header_1_0(self._file, {"descr": descr, "fortran_order": False, "shape": shape})


class Npz:
    """A .npz with "embeddings" [n, dimension] and, if a text has an id, "ids" [n].

    Ids are strings. A text without an id has its index as one.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ids: list[str] = []
        self._ids_by_string: dict[str, str | int | None] = {}  # None for an index
        self._vectors: list[NDArray[np.generic]] = []

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """Store the shape and type until close."""
        self._empty = empty

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Store the id and the vector until close."""
        row = len(self._ids)
        string = str(row if item.id is None else item.id)
        if self._ids_by_string.setdefault(string, item.id) != item.id:
            raise InputValueError(
                f"text {row} and an earlier one would both have the id {string!r} in a .npz, because its ids are "
                "strings and a text without an id has its index; use -o FILE.jsonl"
            )
        self._ids.append(string)
        self._vectors.append(vector)

    def close(self) -> None:
        """Write the archive."""
        import numpy as np

        arrays = {"embeddings": np.concatenate([self._empty, *(vector[None] for vector in self._vectors)])}
        if any(one is not None for one in self._ids_by_string.values()):
            arrays["ids"] = np.array(self._ids)
        np.savez(self._file, **arrays)  # type: ignore[arg-type]


_WRITERS: dict[str, Callable[[IO[bytes]], Writer]] = {".npy": Npy, ".npz": Npz, ".jsonl": JsonLines}
