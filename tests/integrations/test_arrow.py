"""arrow.py: texts out of Arrow columns, vectors into Arrow columns."""

import pickle
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'embedge[arrow]'")

import pyarrow.parquet as pq  # noqa: E402

from embedge import InputTypeError, InputValueError, SparseVector  # noqa: E402
from embedge.integrations.arrow import (  # noqa: E402
    numbers_column,
    read_texts,
    sparse_column,
    vectors_column,
    with_columns,
)

TEXTS = ["a", "東京", ""]
BROKEN = pa.StringArray.from_buffers(
    2, pa.py_buffer(np.array([0, 1, 3], np.int32).tobytes()), pa.py_buffer(b"a\xff\xfe")
)


class Objects(pa.ExtensionType):  # type: ignore[misc,name-defined]
    """A column of pickled objects, as engines have them for lists that mix types."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), "tests.objects")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> "Objects":
        return cls()

    def __arrow_ext_scalar_class__(self) -> type:
        return Unpickled


class Unpickled(pa.ExtensionScalar):  # type: ignore[misc,name-defined]
    def as_py(self, **options: Any) -> Any:
        return pickle.loads(self.value.as_py())


def objects(values: list[Any]) -> Any:
    return pa.ExtensionArray.from_storage(Objects(), pa.array([pickle.dumps(value) for value in values]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        objects(TEXTS),
    ],
    ids=["string", "large", "view", "dictionary", "chunked", "objects"],
)
def test_every_type_of_strings_is_read(column: Any) -> None:
    texts = read_texts(pa.table({"text": column}), "text")
    assert texts.strings == TEXTS
    assert texts.present.all()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(["a", None]), "column 'text' must hold strings, found null in row 1 of the batch"),
        (pa.array([None], pa.null()), "found null in row 0"),
        (BROKEN, "must hold UTF-8, found other bytes in row 1"),
        (objects(["a", 5]), "must hold strings, found int 5 in row 1"),
    ],
    ids=["null", "nulls", "bytes", "object"],
)
def test_a_row_without_a_text_is_named_or_left_out(column: Any, message: str) -> None:
    rows = pa.table({"text": column, "id": [f"d{index}" for index in range(len(column))]})
    with pytest.raises((InputTypeError, InputValueError), match=message):
        read_texts(rows, "text")
    last = len(column) - 1
    with pytest.raises((InputTypeError, InputValueError), match=rf"row {last} of the batch \(id='d{last}'\); drop"):
        read_texts(rows, "text", id_column="id")
    texts = read_texts(rows, "text", on_invalid="null")
    assert texts.strings == ["a"][: len(column) - 1]
    assert texts.present.tolist() == [True, False][2 - len(column) :]


def test_a_column_of_another_type_is_an_error_also_where_nulls_are_asked_for() -> None:
    """A job of a billion nulls would help nobody."""
    for on_invalid in ("error", "null"):
        with pytest.raises(InputTypeError, match="column 'text' must hold strings, found the type int64; cast"):
            read_texts(pa.table({"text": [1, 2]}), "text", on_invalid=on_invalid)  # type: ignore[arg-type]


def test_the_columns_that_there_are_are_named() -> None:
    with pytest.raises(InputValueError, match="one column 'body', found the columns id, text; pass the name"):
        read_texts(pa.table({"id": [1], "text": ["a"]}), "body")
    twice = pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"])
    with pytest.raises(InputValueError, match="one column 'text', found two or more"):
        read_texts(twice, "text")
    with pytest.raises(InputValueError, match="one column 'key'"):
        read_texts(pa.table({"text": ["a"]}), "text", id_column="key")
    with pytest.raises(InputValueError, match="on_invalid must be one of error, null, found 'skip'"):
        read_texts(pa.table({"text": ["a"]}), "text", on_invalid="skip")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8])
def test_vectors_stay_a_fixed_size_list_in_parquet(dtype: Any, tmp_path: Any) -> None:
    vectors = np.arange(6).reshape(2, 3).astype(dtype)
    whole = vectors_column(vectors)
    pq.write_table(pa.table({"v": whole}), tmp_path / "v.parquet")
    column = pq.read_table(tmp_path / "v.parquet")["v"]
    assert column.type == pa.list_(pa.from_numpy_dtype(dtype), 3)
    assert column.to_pylist() == vectors.tolist()
    assert np.array_equal(whole.flatten().to_numpy().reshape(2, 3), vectors)


@pytest.mark.skipif(
    int(pa.__version__.partition(".")[0]) < 26,
    reason="pyarrow before 26 cannot read a null among lists of a fixed size",
)
def test_a_null_among_vectors_stays_null_in_parquet(tmp_path: Any) -> None:
    column = vectors_column(np.arange(6).reshape(2, 3).astype(np.float32), np.array([True, False, True]))
    pq.write_table(pa.table({"v": column}), tmp_path / "v.parquet")
    assert pq.read_table(tmp_path / "v.parquet")["v"].to_pylist() == [[0, 1, 2], None, [3, 4, 5]]


def test_no_rows_keep_their_type() -> None:
    assert vectors_column(np.zeros((0, 3), np.float32)).type == pa.list_(pa.float32(), 3)
    assert sparse_column([]).type == pa.struct({"indices": pa.list_(pa.int32()), "values": pa.list_(pa.float32())})
    nothing = vectors_column(np.zeros((0, 3), np.float32), np.zeros(2, np.bool_))
    assert nothing.to_pylist() == [None, None]


def sparse(indices: list[int], values: list[float]) -> SparseVector:
    return SparseVector(np.array(indices, np.int32), np.array(values, np.float32))


def test_sparse_vectors_and_numbers_have_nulls_where_rows_have_no_text() -> None:
    vectors = [sparse([3, 7], [0.5, 2]), sparse([], [])]
    present = np.array([True, False, True])
    expected: list[Any] = [{"indices": [3, 7], "values": [0.5, 2.0]}, None, {"indices": [], "values": []}]
    assert sparse_column(vectors, present).to_pylist() == expected
    assert sparse_column(vectors).to_pylist() == [expected[0], expected[2]]
    assert numbers_column(np.array([1, 2], np.float32), present).to_pylist() == [1.0, None, 2.0]


@pytest.mark.parametrize("make", [pa.table, pa.RecordBatch.from_pydict])
def test_new_columns_are_at_the_right(make: Any) -> None:
    rows = with_columns(make({"text": ["a"]}), {"v": pa.array([1]), "w": pa.array([2])})
    assert rows.schema.names == ["text", "v", "w"]
    assert type(rows) is type(make({"text": ["a"]}))
    with pytest.raises(InputValueError, match="have a column 'v' already; pass another name"):
        with_columns(rows, {"v": pa.array([1])})
