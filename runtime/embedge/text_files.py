"""Texts in: what `embedge embed` reads, line by line."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

from embedge.errors import InputTypeError, InputValueError

Format = Literal["text", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
_LONGEST_LINE = 1 << 28  # bytes; a file without line ends, such as /dev/zero, would be read until memory is full
_JSONL = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Item:
    """A text to embed, and the id that its input line gave it."""

    text: str
    id: str | int | None = None


@contextlib.contextmanager
def open_items(
    source: str,
    *,
    format: Format | None = None,  # noqa: A002
    option: str = "-i",
) -> Iterator[Iterator[Item]]:
    """The texts of a file, a pipe, or stdin where ``source`` is ``-``; opened at once, read as they are asked for.

    Args:
        source: path, or ``-``.
        format: ``"text"`` is one text a line, ``"jsonl"`` one JSON object a line; None goes by the name's ending, and
            is text for stdin.
        option: of the command that named the source, for errors.

    Raises:
        InputValueError: the source cannot be read, or a line is not UTF-8 or not JSON.
        InputTypeError: an object's text, title or id is missing or of another type.
    """
    if format is None:
        format = "jsonl" if Path(source).suffix.lower() in _JSONL else "text"  # noqa: A001
    if source != "-":
        with _open(source, option) as file:
            yield _read(file, source, format)
    elif sys.stdin is None:
        raise InputValueError(f"standard input is closed; give texts, or {option} FILE")
    else:
        yield _read(sys.stdin.buffer, "standard input", format)


def _open(source: str, option: str) -> IO[bytes]:
    try:
        return Path(source).open("rb")  # opened and not looked at first: it may be a pipe
    except FileNotFoundError:
        raise InputValueError(f"{source}: no such file; give {option} a file's path, or - for standard input") from None
    except IsADirectoryError:
        raise InputValueError(f"{source or '.'} is a directory; give {option} a file") from None
    except PermissionError:
        raise InputValueError(f"{source} may not be read (permission denied); `ls -l` shows by whom") from None
    except (OSError, ValueError) as error:  # the second for a NUL or a lone surrogate in its name
        reason = getattr(error, "strerror", None) or error
        raise InputValueError(f"{source!r} cannot be read ({reason}); give {option} another file") from error


def _read(file: IO[bytes], name: str, format: Format) -> Iterator[Item]:  # noqa: A002
    for number, raw in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
        where = f"{name} line {number}"
        if len(raw) > _LONGEST_LINE:
            raise InputValueError(f"{where} is longer than {_LONGEST_LINE >> 20} MB; put one text on each line")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputValueError(f"{where} is not UTF-8 ({error.reason}); convert it with iconv") from error
        if format == "text":
            yield Item(line)
        elif line.strip():
            yield _json_item(line, where)


def _json_item(line: str, where: str) -> Item:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputValueError(
            f"{where} is not JSON ({error}); a file of plain lines must not end in .jsonl, or says --format text"
        ) from error
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        raise InputTypeError(f'{where} must be an object with a string "text", found {_short(data)}')
    _check_unicode(data["text"], where, "text")
    title = data.get("title")
    if not isinstance(title, str | None):
        raise InputTypeError(f'{where}: "title" must be a string, found {_short(title)}')
    _check_unicode(title or "", where, "title")
    return Item(f"{title} {data['text']}" if title else data["text"], _identity(data, where))


def _identity(data: dict[str, Any], where: str) -> str | int | None:
    identity = data.get("id", data.get("_id"))
    if not isinstance(identity, str | int | None) or isinstance(identity, bool):
        raise InputTypeError(f'{where}: "id" must be a string or an integer, found {_short(identity)}')
    _check_unicode(str(identity), where, "id")
    return identity


def _check_unicode(text: str, where: str, field: str) -> None:
    """Raises InputValueError for what JSON can spell and UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputValueError(f'{where}: "{field}" holds a lone surrogate, {_short(text)}; mend the file') from None


def _short(data: Any) -> str:
    """The JSON of a value, to be shown in one line; escaped, so that any terminal can."""
    try:
        text = json.dumps(data)
    except RecursionError:
        text = "what is nested too deeply"
    return text if len(text) <= 60 else text[:57] + "..."
