"""What a caller may give as texts."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from embedge.errors import TextTypeError


def check_texts(texts: Any) -> tuple[list[str], bool]:
    """The input as a list of strings, and whether it was a single string.

    Raises:
        TextTypeError: it is not a string or an iterable of strings; names the first index that is not.
    """
    if isinstance(texts, str):
        return [texts], True
    return take_texts(check_iterable(texts), None, 0), False


def check_iterable(texts: Any, *, name: str = "texts", kind: str = "a string or a list of strings") -> Iterator[Any]:
    """An iterator over the input, if it is an iterable of what may be ``kind``; ``name`` is the input's in errors.

    Raises:
        TextTypeError: it is not; bytes and dicts iterate over something else than texts, and a set in an order that is
            another in every process.
    """
    try:
        refused = isinstance(texts, bytes | bytearray | Mapping | set | frozenset)
        found: Iterator[Any] | None = None if refused else iter(texts)
    except TypeError:  # an array of no dimensions has __iter__, too
        found = None
    if found is None:
        raise TextTypeError(f"{name} must be {kind}, found {type(texts).__name__}{_ordered(texts, name)}")
    return found


def _ordered(texts: Any, name: str) -> str:
    """What to write instead of a dict or a set."""
    if isinstance(texts, Mapping):
        return f"; give list({name}) for its keys, list({name}.values()) or list({name}.items())"
    return f", which has no order; give sorted({name})" if isinstance(texts, set | frozenset) else ""


def take_texts(texts: Iterator[Any], count: int | None, start: int) -> list[str]:
    """The next ``count`` strings of an iterator, all where None; ``start`` is the index of the first in errors."""
    taken = list(islice(texts, count))
    for index, text in enumerate(taken, start):
        if not isinstance(text, str):
            hint = "; decode it: text.decode('utf-8')" if isinstance(text, bytes) else ""
            raise TextTypeError(f"text {index} must be a string, found {type(text).__name__}{hint}")
    return taken
