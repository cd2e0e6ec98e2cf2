"""Reads texts from files and pipes, line by line: plain text or JSON Lines."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, get_args

from embedge.errors import InputTypeError, InputValueError, find_surrogate, short

Format = Literal["text", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
_LONGEST_LINE = 1 << 28  # bytes; otherwise a file without line ends, such as /dev/zero, would fill the memory
_JSONL_SUFFIXES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Item:
    """A text, and the id in its line; None if the line has none."""

    text: str
    id: str | int | None = None


@contextlib.contextmanager
def open_items(
    source: str,
    *,
    format: Format | None = None,  # noqa: A002
    option: str = "-i",
) -> Iterator[Iterator[Item]]:
    """Open a file, a pipe or stdin, and yield an iterator over its texts, which reads a line at a time.

    A JSON object has a ``"text"``. It may have a ``"title"``, which is put in front of the text. It may also have an
    ``"id"`` or ``"_id"``, which is a string or an integer.

    Args:
        source: a path, or ``-`` for stdin.
        format: ``"text"`` for one text per line, ``"jsonl"`` for one JSON object per line. None chooses by the file
            name's suffix: ``.jsonl`` and ``.ndjson`` are JSON Lines, anything else, stdin included, is text.
        option: the command-line option that names the source, for error messages.

    Raises:
        InputValueError: the source cannot be read; a line is not UTF-8, not JSON or longer than 256 MiB.
        InputTypeError: an object's text is missing, or its text, title or id has the wrong type.
    """
    if format is None:
        format = "jsonl" if Path(source).suffix.lower() in _JSONL_SUFFIXES else "text"  # noqa: A001
    # Only the commands with -i have the option --format.
    if_plain = f"for one text per line, {'pass --format text' if option == '-i' else 'rename the file to .txt'}"
    if source != "-":
        with _open(source, option) as file:
            yield _read(file, source, format, if_plain)
    elif sys.stdin is None:
        raise InputValueError(f"standard input is closed; pass texts as arguments, or a file with {option} FILE")
    else:
        yield _read(sys.stdin.buffer, "standard input", format, if_plain)


def _open(source: str, option: str) -> IO[bytes]:
    try:
        return Path(source).open("rb")  # not checked before it is opened, because it may be a pipe
    except FileNotFoundError:
        raise InputValueError(f"{source}: no such file; pass {option} the path of a file, or - for stdin") from None
    except IsADirectoryError:
        raise InputValueError(f"{source or '.'} is a directory; pass {option} a file") from None
    except PermissionError:
        raise InputValueError(f"{source} cannot be read (permission denied); `ls -l` shows who may read it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the name
        reason = getattr(error, "strerror", None) or error
        raise InputValueError(f"{source!r} cannot be read ({reason}); pass {option} another file") from error


def _read(file: IO[bytes], name: str, format: Format, if_plain: str) -> Iterator[Item]:  # noqa: A002
    for number, raw in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
        where = f"{name} line {number}"
        if len(raw) > _LONGEST_LINE:
            raise InputValueError(f"{where} is longer than {_LONGEST_LINE >> 20} MiB; put one text on each line")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputValueError(f"{where} is not UTF-8 ({error.reason}); convert it with iconv") from error
        if format == "text":
            yield Item(line)
        elif line.strip():
            yield _json_item(line, where, if_plain)


def _json_item(line: str, where: str, if_plain: str) -> Item:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputValueError(f"{where} is not JSON ({error}); {if_plain}") from error
    if not isinstance(data, dict) or not isinstance(data.get("text"), str):
        raise InputTypeError(f'{where} must be an object with a string "text", found {_show(data)}')
    _check_unicode(data["text"], where, "text")
    title = data.get("title")
    if not isinstance(title, str | None):
        raise InputTypeError(f'{where}: "title" must be a string, found {_show(title)}')
    _check_unicode(title or "", where, "title")
    return Item(f"{title} {data['text']}" if title else data["text"], _identity(data, where))


def _identity(data: dict[str, Any], where: str) -> str | int | None:
    identity = data.get("id", data.get("_id"))
    if not isinstance(identity, str | int | None) or isinstance(identity, bool):
        raise InputTypeError(f'{where}: "id" must be a string or an integer, found {_show(identity)}')
    _check_unicode(str(identity), where, "id")
    return identity


def _check_unicode(text: str, where: str, field: str) -> None:
    """Raise InputValueError for a lone surrogate, which a JSON escape can write but UTF-8 cannot encode."""
    if find_surrogate(text):
        raise InputValueError(f'{where}: "{field}" holds a lone surrogate, {_show(text)}; correct the file')


def _show(data: Any) -> str:
    return short(data, write=json.dumps, most=60)
