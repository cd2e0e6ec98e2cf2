"""Check the texts that a caller passes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from embedge.errors import InputTypeError

# Types that iterate over something other than texts, or in no order.
_REFUSED = (bytes, bytearray, memoryview, Mapping, set, frozenset)


def check_texts(texts: Any) -> tuple[list[str], bool]:
    """Return the input as a list of strings, and whether it was a single string.

    Raises:
        InputTypeError: it is not a string or an iterable of strings; the message has the first index that is not one.
    """
    if isinstance(texts, str):
        return [texts], True
    return take_texts(check_iterable(texts), None, 0), False


def check_iterable(texts: Any, *, name: str = "texts", kind: str = "a string or a list of strings") -> Iterator[Any]:
    """Return an iterator over the input, which error messages call ``name`` and which must be ``kind``.

    Raises:
        InputTypeError: it is not iterable; or it is bytes, a dict or a table, which iterate over something other than
            texts; or a set, whose order differs from process to process.
    """
    try:
        refused = not isinstance(texts, list | tuple) and (isinstance(texts, _REFUSED) or _is_table(texts))
        iterator: Iterator[Any] | None = None if refused else iter(texts)
    except TypeError:  # an array without dimensions has an __iter__, which raises this
        iterator = None
    if iterator is None:
        raise InputTypeError(f"{name} must be {kind}, found {type(texts).__name__}{_advice(texts, name)}")
    return iterator


def _advice(texts: Any, name: str) -> str:
    """Return the code to write instead of a table, a dict or a set."""
    if _is_table(texts):
        columns = _columns(texts)
        column = columns[0] if columns else "text"
        shown = f" (its columns: {', '.join(columns[:5])}{', ...' if len(columns) > 5 else ''})" if columns else ""
        return f", which is a table; pass one column of it, such as {_column(texts, name, column)}{shown}"
    if isinstance(texts, Mapping):
        return f"; pass list({name}) for its keys, list({name}.values()) or list({name}.items())"
    return f", which has no order; pass sorted({name})" if isinstance(texts, set | frozenset) else ""


# The method that turns a column into a list of strings, by the first part of the name of its type's module.
_COLUMN_AS_LIST: Mapping[str, str] = {
    "pandas": ".tolist()",
    "polars": ".to_list()",
    "pyarrow": ".to_pylist()",
    "numpy": ".tolist()",
}


def _is_table(texts: Any) -> bool:
    """Whether the input has columns: pandas iterates over their names, pyarrow over whole columns, datasets over rows.

    The attributes of its type show that, so no library is imported. pandas, polars, pyarrow, datasets, dask, pyspark
    and duckdb have ``columns`` or ``column_names``, and other libraries the interchange protocol's ``__dataframe__``. A
    numpy array that is a table has named fields.
    """
    kind = type(texts)
    if any(hasattr(kind, name) for name in ("columns", "column_names", "__dataframe__")):
        return True
    return getattr(getattr(texts, "dtype", None), "names", None) is not None


def _columns(texts: Any) -> list[str]:
    """Return the names of a table's columns, if it has them."""
    dtype = getattr(texts, "dtype", None)
    with suppress(Exception):  # a library may raise any error for a lazy table
        for names in (getattr(texts, "column_names", None), getattr(texts, "columns", None), dtype and dtype.names):
            if isinstance(names, Mapping):  # a DatasetDict's, by split
                return [str(name) for name in next(iter(names.values()))]
            if isinstance(names, Iterable) and not isinstance(names, str):
                columns = [str(name) for name in names if isinstance(name, str | int)]
                if columns:
                    return columns
    return []


def _column(texts: Any, name: str, column: str) -> str:
    """Return the code that turns a table's column into a list."""
    taken = f'{name}["{column}"]'
    if isinstance(texts, Mapping):  # a DatasetDict
        taken = f'{name}["{next(iter(texts), "train")}"]["{column}"]'
    root = type(texts).__module__.partition(".")[0]
    if hasattr(type(texts), "collect"):  # a lazy table
        taken = f'{name}.collect()["{column}"]'
    return f"{taken}{_COLUMN_AS_LIST[root]}" if root in _COLUMN_AS_LIST else f"list({taken})"


def take_texts(texts: Iterator[Any], count: int | None, start: int) -> list[str]:
    """Return the next ``count`` strings of an iterator, or all; ``start`` is the first index in error messages."""
    taken = list(islice(texts, count))
    for index, text in enumerate(taken, start):
        if not isinstance(text, str):
            hint = "; decode it: text.decode('utf-8')" if isinstance(text, bytes) else ""
            raise InputTypeError(f"text {index} must be a string, found {type(text).__name__}{hint}")
    return taken
