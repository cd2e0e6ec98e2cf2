"""Writes the .npz of `embedge embed`. Its arrays grow in files, so memory does not grow with the number of texts."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from embedge.errors import InputValueError
from embedge.text_files import Item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedge.inference.embeddings import Embedding, Embeddings


class Npz:
    """A .npz with an array or more for each kind of vector, and if a text has an id, "ids" [n].

    - dense: "embeddings" [n, dimension].
    - sparse: "sparse_indices" int32 [total] and "sparse_values" float32 [total] of all texts, one after another, and
      "sparse_offsets" int64 [n + 1]. Text i has the elements from ``sparse_offsets[i]`` to ``sparse_offsets[i + 1]``.
    - multi-vectors: "multi_vectors" float32 [total, dimension], and "multi_vector_offsets" int64 [n + 1].

    Ids are strings. A text without an id has its index as one. Only they are in memory until the end.

    Args:
        file: the file to write.
        folder: the folder for the files of growing arrays.
    """

    def __init__(self, file: IO[bytes], folder: Path) -> None:
        self._file = file
        self._folder = folder
        self._ids: list[str] = []
        self._ids_by_string: dict[str, str | int | None] = {}  # None for an index
        self._arrays: dict[str, _GrowingArray] = {}

    def begin(self, empty: "Embeddings", dimension: int) -> None:
        """Begin the arrays of the kinds that there are; see ``Writer``."""
        import numpy as np

        if empty.dense is not None:
            self._add("embeddings", empty.dense)
        if empty.sparse is not None:
            self._add("sparse_indices", np.empty(0, np.int32))
            self._add("sparse_values", np.empty(0, np.float32))
            self._add("sparse_offsets", np.empty(0, np.int64)).append(np.zeros(1, np.int64))
        if empty.multi_vector is not None:
            self._add("multi_vectors", np.empty((0, dimension), np.float32))
            self._add("multi_vector_offsets", np.empty(0, np.int64)).append(np.zeros(1, np.int64))

    def _add(self, name: str, empty: "NDArray[Any]") -> "_GrowingArray":
        self._arrays[name] = _GrowingArray(empty, self._folder)
        return self._arrays[name]

    def write(self, item: Item, embedding: "Embedding") -> None:
        """Append the vectors of a text to the arrays, and store its id until close."""
        import numpy as np

        self._add_id(item)
        arrays = self._arrays
        if embedding.dense is not None:
            arrays["embeddings"].append(embedding.dense[None])
        if embedding.sparse is not None:
            arrays["sparse_indices"].append(embedding.sparse.indices)
            arrays["sparse_values"].append(embedding.sparse.values)
            arrays["sparse_offsets"].append(np.array([arrays["sparse_values"].rows]))
        if embedding.multi_vector is not None:
            arrays["multi_vectors"].append(embedding.multi_vector)
            arrays["multi_vector_offsets"].append(np.array([arrays["multi_vectors"].rows]))

    def _add_id(self, item: Item) -> None:
        row = len(self._ids)
        string = str(row if item.id is None else item.id)
        if self._ids_by_string.setdefault(string, item.id) != item.id:
            raise InputValueError(
                f"text {row} and an earlier one would both have the id {string!r} in a .npz, because its ids are "
                "strings and a text without an id has its index; use -o FILE.jsonl"
            )
        self._ids.append(string)

    def close(self) -> None:
        """Write the archive."""
        import numpy as np

        if any(one is not None for one in self._ids_by_string.values()):
            ids = np.array(self._ids)
            self._add("ids", ids[:0]).append(ids)
        # Not compressed, as numpy.savez writes it.
        with zipfile.ZipFile(self._file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in self._arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    array.copy_to(member)


class _GrowingArray:
    """An array whose rows are in a file without a name, which is gone when the process ends.

    Args:
        empty: an array without rows, of the shape and type of the array.
        folder: the folder of the file: that of the output, because the system's temporary folder may be in memory.

    Attributes:
        rows: how many rows there are.
    """

    def __init__(self, empty: "NDArray[Any]", folder: Path) -> None:
        self.rows = 0
        self._empty = empty
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - its destructor closes it

    def append(self, rows: "NDArray[Any]") -> None:
        """Append some rows."""
        self._file.write(rows.astype(self._empty.dtype, copy=False).tobytes())
        self.rows += len(rows)

    def copy_to(self, member: IO[bytes]) -> None:
        """Write the array as a .npy file, and close its own file."""
        write_npy_header(member, self._empty, self.rows)
        self._file.seek(0)
        shutil.copyfileobj(self._file, member, 1 << 20)
        self._file.close()


def write_npy_header(file: IO[bytes], empty: "NDArray[np.generic]", rows: int) -> None:
    """Write the header of a .npy file for an array of so many rows, of the shape and type of ``empty``."""
    from numpy.lib import format as npy

    shape, descr = (rows, *empty.shape[1:]), npy.dtype_to_descr(empty.dtype)
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
