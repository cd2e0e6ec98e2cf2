"""What a caller may give as texts."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from embedge.errors import InputTypeError

# What iterates over something else than texts, or in no order.
_REFUSED = (bytes, bytearray, memoryview, Mapping, set, frozenset)


def check_texts(texts: Any) -> tuple[list[str], bool]:
    """The input as a list of strings, and whether it was a single string.

    Raises:
        InputTypeError: it is not a string or an iterable of strings; names the first index that is not.
    """
    if isinstance(texts, str):
        return [texts], True
    return take_texts(check_iterable(texts), None, 0), False


def check_iterable(texts: Any, *, name: str = "texts", kind: str = "a string or a list of strings") -> Iterator[Any]:
    """An iterator over the input, if it is an iterable of what may be ``kind``; ``name`` is the input's in errors.

    Raises:
        InputTypeError: it is not; bytes, dicts and tables iterate over something else than texts, and a set in an order
            that is another in every process.
    """
    try:
        refused = not isinstance(texts, list | tuple) and (isinstance(texts, _REFUSED) or _is_table(texts))
        found: Iterator[Any] | None = None if refused else iter(texts)
    except TypeError:  # an array of no dimensions has __iter__, too
        found = None
    if found is None:
        raise InputTypeError(f"{name} must be {kind}, found {type(texts).__name__}{_instead(texts, name)}")
    return found


def _instead(texts: Any, name: str) -> str:
    """What to write instead of a table, a dict or a set."""
    if _is_table(texts):
        columns = _columns(texts)
        column = columns[0] if columns else "text"
        shown = f" (its columns: {', '.join(columns[:5])}{', ...' if len(columns) > 5 else ''})" if columns else ""
        return f", which is a table; give one column of it, such as {_column(texts, name, column)}{shown}"
    if isinstance(texts, Mapping):
        return f"; give list({name}) for its keys, list({name}.values()) or list({name}.items())"
    return f", which has no order; give sorted({name})" if isinstance(texts, set | frozenset) else ""


# How a column of a library's tables is made a list of strings, by the first part of the type's module.
_COLUMN_AS_LIST: Mapping[str, str] = {
    "pandas": ".tolist()",
    "polars": ".to_list()",
    "pyarrow": ".to_pylist()",
    "numpy": ".tolist()",
}


def _is_table(texts: Any) -> bool:
    """Whether it has columns: pandas iterates over their names, pyarrow over whole columns, datasets over rows.

    Told by what its type has, so that no library need be imported: pandas, polars, pyarrow, datasets, dask, pyspark and
    duckdb all call them so; ``__dataframe__`` is the interchange protocol of others. A numpy array has fields where it
    is a table.
    """
    kind = type(texts)
    if any(hasattr(kind, name) for name in ("columns", "column_names", "__dataframe__")):
        return True
    return getattr(getattr(texts, "dtype", None), "names", None) is not None


def _columns(texts: Any) -> list[str]:
    """The names of a table's columns, where it tells them."""
    dtype = getattr(texts, "dtype", None)
    with suppress(Exception):  # whatever a library raises of a lazy table
        for names in (getattr(texts, "column_names", None), getattr(texts, "columns", None), dtype and dtype.names):
            if isinstance(names, Mapping):  # a DatasetDict's, by split
                return [str(name) for name in next(iter(names.values()))]
            if isinstance(names, Iterable) and not isinstance(names, str):
                found = [name for name in names if isinstance(name, str | int)]
                if found:
                    return [str(name) for name in found]
    return []


def _column(texts: Any, name: str, column: str) -> str:
    """The line that makes a list of a table's column."""
    taken = f'{name}["{column}"]'
    if isinstance(texts, Mapping):  # a DatasetDict
        taken = f'{name}["{next(iter(texts), "train")}"]["{column}"]'
    root = type(texts).__module__.partition(".")[0]
    if hasattr(type(texts), "collect"):  # a lazy table
        taken = f'{name}.collect()["{column}"]'
    return f"{taken}{_COLUMN_AS_LIST[root]}" if root in _COLUMN_AS_LIST else f"list({taken})"


def take_texts(texts: Iterator[Any], count: int | None, start: int) -> list[str]:
    """The next ``count`` strings of an iterator, all where None; ``start`` is the index of the first in errors."""
    taken = list(islice(texts, count))
    for index, text in enumerate(taken, start):
        if not isinstance(text, str):
            hint = "; decode it: text.decode('utf-8')" if isinstance(text, bytes) else ""
            raise InputTypeError(f"text {index} must be a string, found {type(text).__name__}{hint}")
    return taken
