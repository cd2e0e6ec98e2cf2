"""Parse a large body as JSON on a thread, value by value, so that the event loop goes on.

``json.loads`` holds the interpreter's lock until it returns: a body of 16 MiB that is one list of empty lists took
0.9 s, in which nobody was served, on a thread, too. Here Python code walks the lists and objects, and C code reads each
string and number, so other threads run in between. Requests have few values and long strings, so a limit on the number
of values bounds the time.
"""

from __future__ import annotations

import json
import re
from typing import Any

_blanks = re.compile(r"[ \t\n\r]*").match
_read_scalar = json.JSONDecoder().raw_decode  # a string, a number, true, false or null


class TooManyValuesError(ValueError):
    """A text has more values than it may have."""


def parse_large(text: str, *, most: int) -> Any:
    """Return what ``json.loads`` returns.

    >>> parse_large('{"inputs": ["a", "b"], "truncate": true}', most=5)
    {'inputs': ['a', 'b'], 'truncate': True}

    Args:
        text: the JSON.
        most: how many values it may have: strings, numbers, true, false, null, lists and objects.

    Raises:
        TooManyValuesError: it has more.
        json.JSONDecodeError: it is not JSON.
        RecursionError: lists and objects are nested too deeply.
    """
    value, at = _Reader(text, most).value(_skip(text, 0))
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return value


class _Reader:
    """Reads values of a text. Each method takes where to begin, and returns where the next thing begins."""

    def __init__(self, text: str, most: int) -> None:
        self._text = text
        self._left = most

    def value(self, at: int) -> tuple[Any, int]:
        self._left -= 1
        if self._left < 0:
            raise TooManyValuesError
        first = self._text[at : at + 1]
        if first == "[":
            return self._list(_skip(self._text, at + 1))
        if first == "{":
            return self._object(_skip(self._text, at + 1))
        value, at = _read_scalar(self._text, at)
        return value, _skip(self._text, at)

    def _list(self, at: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        if self._is(at, "]"):
            return values, _skip(self._text, at + 1)
        while True:
            value, at = self.value(at)
            values.append(value)
            if self._is(at, "]"):
                return values, _skip(self._text, at + 1)
            at = self._after(",", at)

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        if self._is(at, "}"):
            return members, _skip(self._text, at + 1)
        while True:
            if not self._is(at, '"'):
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, at)
            name, at = _read_scalar(self._text, at)
            members[name], at = self.value(self._after(":", _skip(self._text, at)))
            if self._is(at, "}"):
                return members, _skip(self._text, at + 1)
            at = self._after(",", at)

    def _is(self, at: int, mark: str) -> bool:
        return self._text[at : at + 1] == mark

    def _after(self, mark: str, at: int) -> int:
        if not self._is(at, mark):
            raise json.JSONDecodeError(f"Expecting '{mark}' delimiter", self._text, at)
        return _skip(self._text, at + 1)


def _skip(text: str, at: int) -> int:
    blanks = _blanks(text, at)
    assert blanks is not None  # it matches nothing, too
    return blanks.end()
