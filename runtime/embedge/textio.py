"""Texts in, vectors out: the files that `embedge embed` reads and writes."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import click

from embedge.errors import TextTypeError, TextValueError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Item:
    """A text to embed, and the id that its input line gave it."""

    text: str
    id: str | int | None = None


def read_items(source: str) -> Iterator[Item]:
    """The texts of a file, or of stdin where ``source`` is ``-``: lines, or JSON lines where the name ends so.

    Raises:
        TextValueError: a line is not UTF-8, or not a JSON object.
        TextTypeError: an object has no "text" that is a string.
    """
    if source == "-":
        yield from _lines(sys.stdin.buffer, "standard input", jsonl=False)
        return
    if not Path(source).is_file():
        raise TextValueError(f"{source}: no such file")
    with Path(source).open("rb") as file:
        yield from _lines(file, source, jsonl=source.endswith((".jsonl", ".ndjson")))


def _lines(file: IO[bytes], name: str, *, jsonl: bool) -> Iterator[Item]:
    for number, raw in enumerate(file, 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise TextValueError(
                f"{name} line {number} is not UTF-8 ({error.reason}); convert it with iconv"
            ) from error
        if not jsonl:
            yield Item(line)
        elif line.strip():
            yield _json_item(line, f"{name} line {number}")


def _json_item(line: str, where: str) -> Item:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise TextValueError(f"{where} is not JSON ({error})") from error
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        raise TextTypeError(f'{where} must be an object with a string "text", found {line[:60]!r}')
    title = data.get("title")
    text = f"{title} {data['text']}" if isinstance(title, str) and title else data["text"]
    identity = data.get("id", data.get("_id"))
    return Item(text, identity if isinstance(identity, str | int) else None)


class Writer(Protocol):
    """Takes vectors one by one."""

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Take the vector of an item."""

    def close(self) -> None:
        """Write whatever has to wait for the last vector."""


@contextlib.contextmanager
def open_writer(output: str | None) -> Iterator[Writer]:
    """A writer for a file by its name's ending, or for JSON lines on stdout.

    The file appears whole when the block ends, or not at all.
    """
    if output is None:
        yield JsonLines(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if path.suffix not in _WRITERS:
        raise click.UsageError(f"-o must end in {', '.join(_WRITERS)}, found {path.name!r}")
    if not path.parent.is_dir():
        raise click.UsageError(f"-o {output}: no such directory, {path.parent}")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            writer = _WRITERS[path.suffix](file)
            yield writer
            writer.close()
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)  # mkstemp's are for their owner alone
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


class JsonLines:
    """{"index": 0, "embedding": [...]} a line, with the input's "id" if it had one; floats to the last bit."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._index = 0

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """One line."""
        head: dict[str, str | int] = {"index": self._index}
        if item.id is not None:
            head["id"] = item.id
        # Nine significant digits give a float32 back exactly.
        numbers = ", ".join(f"{number:.9g}" for number in vector.tolist())
        line = f'{json.dumps(head, ensure_ascii=False)[:-1]}, "embedding": [{numbers}]}}\n'
        self._file.write(line.encode())
        self._index += 1

    def close(self) -> None:
        """Nothing waits."""


class Npy:
    """A .npy array [n, dimension], written row by row: memory does not grow with n."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows = 0
        self._row: NDArray[np.generic] | None = None

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """One row."""
        if self._row is None:
            self._row = vector
            self._header(0)
        self._file.write(vector.tobytes())
        self._rows += 1

    def close(self) -> None:
        """The header again, with the number of rows; numpy pads it so that any number fits."""
        if self._row is None:
            raise TextValueError("there are no texts, so no vectors to write; -o .jsonl takes an empty input")
        end = self._file.tell()
        self._file.seek(0)
        self._header(self._rows)
        self._file.seek(end)

    def _header(self, rows: int) -> None:
        from numpy.lib import format as npy

        assert self._row is not None
        shape = (rows, *self._row.shape)
        descr = npy.dtype_to_descr(self._row.dtype)
        npy.write_array_header_1_0(self._file, {"descr": descr, "fortran_order": False, "shape": shape})


class Npz:
    """A .npz with "embeddings" [n, dimension] and, where the input had them, "ids" [n]."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._items: list[Item] = []
        self._vectors: list[NDArray[np.generic]] = []

    def write(self, item: Item, vector: "NDArray[np.generic]") -> None:
        """Kept until close."""
        self._items.append(item)
        self._vectors.append(vector)

    def close(self) -> None:
        """The archive."""
        import numpy as np

        arrays = {"embeddings": np.array(self._vectors)}
        if any(item.id is not None for item in self._items):
            arrays["ids"] = np.array([str(item.id) for item in self._items])
        np.savez(self._file, **arrays)  # type: ignore[arg-type]


_WRITERS: dict[str, Callable[[IO[bytes]], Writer]] = {".npy": Npy, ".npz": Npz, ".jsonl": JsonLines}
