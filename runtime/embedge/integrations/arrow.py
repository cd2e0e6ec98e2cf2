"""Arrow columns: texts are read from a table's column, and vectors, sparse vectors and scores become columns.

The adapters for data engines (Ray Data, Daft, Spark, LanceDB) share it. A row that cannot be embedded is one error that
names the row, or a null in each new column: see ``read_texts``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

from embedge.errors import InputTypeError, InputValueError, short
from embedge.inference.options import check_choice
from embedge.integrations.extra import needs_extra

with needs_extra("arrow"):
    import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.sparse import SparseVector

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)
OnInvalid = Literal["error", "null"]


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a column.

    Attributes:
        strings: the texts of the rows that have one, in order.
        present: whether each row has one, bool [rows].
    """

    strings: list[str]
    present: NDArray[np.bool_]

    def of_rows(self, wanted: NDArray[np.bool_]) -> list[str]:
        """Return the texts of the rows that are wanted, bool [rows]; each of them must have one."""
        return [text for text, keep in zip(self.strings, wanted[self.present].tolist(), strict=True) if keep]


def read_texts(
    rows: pa.Table | pa.RecordBatch, column: str, *, on_invalid: OnInvalid = "error", id_column: str | None = None
) -> Texts:
    """Return the texts of a column.

    Args:
        rows: a table or a batch of rows.
        column: the column of the texts: Arrow's string types, dictionaries of strings, or an engine's type of Python
            objects (Ray makes one of a list that mixes types).
        on_invalid: what to do about a row without a text: a null, an object that is not a string, or bytes that are not
            UTF-8. ``"error"`` raises; ``"null"`` leaves the row out of ``strings``.
        id_column: the column whose value names a row in messages; None names it by its position in ``rows``.

    Raises:
        InputTypeError: the column holds another type, or a row holds an object that is not a string.
        InputValueError: there is no such column, or a row is null or not valid UTF-8.
    """
    check_choice("on_invalid", on_invalid, get_args(OnInvalid))
    for name in (column, *([] if id_column is None else [id_column])):
        check_column(rows, name)
    values = _strings_or_faults(rows.column(column), column)
    faults = [index for index, value in enumerate(values) if not isinstance(value, str)]
    if faults and on_invalid == "error":
        raise _error(rows, column, faults[0], values[faults[0]], id_column)
    present = np.ones(len(values), np.bool_)
    present[faults] = False
    return Texts([value for value in values if isinstance(value, str)], present)


def check_column(rows: pa.Table | pa.RecordBatch, name: str) -> None:
    """Raise InputValueError if a table has no such column, or several."""
    count = rows.schema.names.count(name)
    if count != 1:
        found = "two or more" if count else f"the columns {', '.join(rows.schema.names)}"
        raise InputValueError(f"there must be one column {name!r}, found {found}; pass the name of a column")


def check_new_columns(rows: pa.Table | pa.RecordBatch, *names: str | None) -> None:
    """Raise InputValueError if a new column's name is taken, or two new ones have the same; None is no column."""
    new = [name for name in names if name is not None]
    for name in new:
        if name in rows.schema.names:
            raise InputValueError(f"the rows have a column {name!r} already; pass another name for the new column")
        if new.count(name) > 1:
            raise InputValueError(f"two new columns would have the name {name!r}; pass another one for one of them")


def vectors_column(vectors: NDArray[Any], present: NDArray[np.bool_] | None = None) -> pa.FixedSizeListArray:
    """Return vectors as a column: FixedSizeList<float>[dimension], or of the vectors' own number type.

    Args:
        vectors: [n, dimension], as ``Embedder.encode`` returns them.
        present: whether each row has a vector, bool [rows], with n rows that have one; None: all have one.

    >>> vectors_column(np.float32([[1, 2]]), np.array([False, True])).to_pylist()
    [None, [1.0, 2.0]]
    """
    dimension = vectors.shape[1]
    if present is None or present.all():
        return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimension)
    filled = np.zeros((len(present), dimension), vectors.dtype)
    filled[present] = vectors
    return pa.FixedSizeListArray.from_arrays(pa.array(filled.reshape(-1)), dimension, mask=pa.array(~present))


def sparse_column(vectors: Sequence[SparseVector], present: NDArray[np.bool_] | None = None) -> pa.StructArray:
    """Return sparse vectors as a column: struct<indices: list<int32>, values: list<float>>.

    Args:
        vectors: as ``Embedder.encode_sparse`` returns them.
        present: see ``vectors_column``.
    """
    there = np.ones(len(vectors), np.bool_) if present is None else present
    lengths = np.zeros(len(there), np.int64)
    lengths[there] = [len(vector) for vector in vectors]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([np.zeros(0, dtype), *parts])))
        for dtype, parts in (
            (np.int32, [vector.indices for vector in vectors]),
            (np.float32, [vector.values for vector in vectors]),
        )
    ]
    return pa.StructArray.from_arrays(lists, names=["indices", "values"], mask=pa.array(~there))


def numbers_column(numbers: NDArray[Any], present: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return one number or truth value a row as a column, such as scores, float32 [n]. ``present``: see above."""
    if present is None:
        return pa.array(numbers)
    filled = np.zeros(len(present), numbers.dtype)
    filled[present] = numbers
    return pa.array(filled, mask=~present)


def with_columns(rows: Rows, columns: Mapping[str, pa.Array]) -> Rows:
    """Return the rows with more columns at their right.

    Raises:
        InputValueError: the rows have a column of that name already.
    """
    for name, column in columns.items():
        if name in rows.schema.names:
            raise InputValueError(f"the rows have a column {name!r} already; pass another name for the new column")
        rows = rows.append_column(name, column)
    return rows


class _NotUtf8:
    """Stands for a text whose bytes are not UTF-8."""


def _strings_or_faults(column: pa.ChunkedArray | pa.Array, name: str) -> list[Any]:
    """Return a column's values; what is not a string is a fault. Raises InputTypeError for a type without strings."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (_is_string(kind) or pa.types.is_null(kind) or isinstance(kind, pa.BaseExtensionType)):
        raise InputTypeError(f"column {name!r} must hold strings, found the type {kind}; cast the column to string")
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        return list(_one_by_one(column))


def _one_by_one(column: pa.ChunkedArray | pa.Array) -> Iterator[Any]:
    for scalar in column:
        try:
            yield scalar.as_py()
        except UnicodeDecodeError:
            yield _NotUtf8()


def _is_string(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _error(
    rows: pa.Table | pa.RecordBatch, column: str, index: int, value: object, id_column: str | None
) -> InputTypeError | InputValueError:
    """Return the error for a row without a text."""
    named = "" if id_column is None else f" ({id_column}={short(rows.column(id_column)[index].as_py())})"
    where = f"row {index} of the batch{named}"
    advice = "drop the row, or pass on_invalid='null' to give it null"
    if value is None:
        return InputValueError(f"column {column!r} must hold strings, found null in {where}; {advice}")
    if isinstance(value, _NotUtf8):
        return InputValueError(f"column {column!r} must hold UTF-8, found other bytes in {where}; {advice}")
    kind = type(value).__name__
    return InputTypeError(f"column {column!r} must hold strings, found {kind} {short(value)} in {where}; {advice}")
