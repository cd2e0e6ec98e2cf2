"""Vectors out: the files that `embedge embed` writes."""

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
    """Takes vectors one by one."""

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """Take the shape and type of what will come, as an array [0, dimension]. Called once, first."""

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Take the vector of an item."""

    def close(self) -> None:
        """Write whatever has to wait for the last vector."""


@contextlib.contextmanager
def open_writer(output: str | None) -> Iterator[Writer]:
    """A writer for a file by its name's ending, or for JSON lines on stdout where ``output`` is None or ``-``.

    The file appears whole when the block ends, or not at all.

    Raises:
        UsageError: no file of that name can be written.
        InputValueError: stdout is closed, or the file cannot be written.
    """
    if output is None or output == "-":
        if sys.stdout is None:
            raise InputValueError("standard output is closed; give -o FILE")
        yield JsonLines(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = _check_path(output)
    of_block: BaseException | None = None
    try:
        with replacing(path) as file:
            writer = _WRITERS[Path(output).suffix.lower()](file)
            try:
                yield writer
            except BaseException as error:
                of_block = error
                raise
            writer.close()
    except OSError as error:
        if error is of_block:
            raise
        raise _unusable(output, error) from error


def _check_path(output: str) -> Path:
    """Where the file goes: what a link points to, so that the link stays one."""
    if Path(output).suffix.lower() not in _WRITERS:
        name = output.rpartition("/")[2]
        raise click.UsageError(f"-o must end in {', '.join(_WRITERS)}, found {name!r}; - is stdout")
    path = resolve_links(expand(output, what="-o", error=InputValueError), what="-o", error=InputValueError)
    try:
        if not path.parent.is_dir():
            raise click.UsageError(f"-o {output}: no such directory, {path.parent}")
        if path.is_dir():
            raise click.UsageError(f"-o {output} is a directory; give a file's name")
        if path.exists() and not path.is_file():  # a pipe would be replaced by a file, and its reader wait
            raise click.UsageError(f"-o {output} is no regular file; leave -o out, and redirect stdout there")
    except OSError as error:
        raise _unusable(output, error) from error
    return path


def _unusable(output: str, error: OSError) -> InputValueError:
    return InputValueError(
        f"-o {output} cannot be written ({error.strerror or error}); give another file, or make room"
    )


def json_line(data: Mapping[str, Any]) -> str:
    r"""JSON in one line, as readable as any terminal can show: nothing in it ends a line or moves a cursor.

    >>> json_line({"text": "東\u2028\x9b"})
    '{"text": "東\\u2028\\u009b"}'
    """
    text = json.dumps(data, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(letter):04x}" if is_unseen(letter) else letter for letter in text)


class JsonLines:
    """{"index": 0, "embedding": [...]} a line, with the input's "id" if it had one; floats to the last bit."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._index = 0

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """A line says itself what it holds."""

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """One line."""
        head: dict[str, str | int] = {"index": self._index}
        if item.id is not None:
            head["id"] = item.id
        # Nine significant digits give a float32 back exactly.
        numbers = ", ".join(f"{number:.9g}" for number in vector.tolist())
        line = f'{json_line(head)[:-1]}, "embedding": [{numbers}]}}\n'
        self._file.write(line.encode())
        self._index += 1

    def close(self) -> None:
        """Nothing waits."""


class Npy:
    """A .npy array [n, dimension], written row by row: memory does not grow with n."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """The header, with no rows yet."""
        self._empty = empty
        self._header()

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """One row."""
        self._file.write(vector.tobytes())
        self._rows += 1

    def close(self) -> None:
        """The header again, with the number of rows; numpy pads it so that any number fits."""
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
    """A .npz with "embeddings" [n, dimension] and, where the input had any, "ids" [n].

    Ids are strings; a text without one goes by its position, the "index" of JSON lines.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ids: list[str] = []
        self._meant: dict[str, str | int | None] = {}  # what each string was
        self._vectors: list[NDArray[np.generic]] = []

    def begin(self, empty: "NDArray[np.generic]") -> None:
        """Kept until close."""
        self._empty = empty

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Kept until close."""
        row = len(self._ids)
        string = str(row if item.id is None else item.id)
        if self._meant.setdefault(string, item.id) != item.id:
            raise InputValueError(
                f"text {row} and one before it would both have id {string!r} in a .npz, where ids are strings and a "
                "text without one goes by its position; -o FILE.jsonl keeps them apart"
            )
        self._ids.append(string)
        self._vectors.append(vector)

    def close(self) -> None:
        """The archive."""
        import numpy as np

        arrays = {"embeddings": np.concatenate([self._empty, *(vector[None] for vector in self._vectors)])}
        if any(meant is not None for meant in self._meant.values()):
            arrays["ids"] = np.array(self._ids)
        np.savez(self._file, **arrays)  # type: ignore[arg-type]


_WRITERS: dict[str, Callable[[IO[bytes]], Writer]] = {".npy": Npy, ".npz": Npz, ".jsonl": JsonLines}
