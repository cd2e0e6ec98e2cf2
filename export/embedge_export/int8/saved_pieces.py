"""Keep finished pieces of an int8 graph on the disk, so that an export that was stopped goes on where it was.

A piece is written to a folder with a temporary name, flushed to the disk, and renamed. So a folder with a piece's name
is complete, even after a power cut.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from embedge.bundle.checksum import sha256
from embedge.bundle.staging import flush, flush_folder
from embedge.progress import log_step
from embedge_export.checkpoint.table import Table
from embedge_export.graph.piece import Piece
from embedge_export.graph.write import write_pieces

_KEY = "key"
_GRAPH = "piece.onnx"
_SUMS = "sums.json"


class SavedPieces:
    """The pieces of one export, by number from 0. They are saved in this order.

    What another export has saved in the folder is deleted, with a line in the log.

    Args:
        folder: where they are saved; nothing else is in it.
        key: says what they were made from, and by what. Pieces with another key cannot be used.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key
        if folder.exists() and not self._has_key():
            if self.count:
                log_step(
                    f"{'resume':<11}not possible: since the export that was stopped, the checkpoint, an option or the "
                    "exporter has changed"
                )
            self.delete()
        self._delete_damaged()

    @property
    def count(self) -> int:
        """How many pieces are saved."""
        number = 0
        while self._place(number).is_dir():
            number += 1
        return number

    def save(self, number: int, piece: Piece) -> None:
        """Save a piece."""
        place = self._place(number)
        partial = place.with_name(f"{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if number == 0:
            (self._folder / _KEY).write_text(self._key, encoding="ascii")
            flush(self._folder / _KEY)
        write_pieces([piece], partial / _GRAPH)
        sums = {file.name: sha256(file) for file in partial.iterdir()}
        (partial / _SUMS).write_text(json.dumps(sums), encoding="ascii")
        flush_folder(partial)
        partial.rename(place)
        flush(self._folder)

    def load(self, number: int) -> Piece:
        """Return a saved piece. Its large constants are tables, which read the saved file."""
        folder = self._place(number)
        model = onnx.load(folder / _GRAPH, load_external_data=False)
        tables = {}
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                values = _mapped(tensor, folder)
                if values.ndim == 2:
                    tables[tensor.name] = Table.of(values)
                else:
                    tensor.raw_data = values.tobytes()
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
        return Piece(model=model, tables=tables)

    def delete(self) -> None:
        """Delete all pieces."""
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def _delete_damaged(self) -> None:
        """Delete the pieces from the first one on that is missing or damaged."""
        whole, found = 0, self.count
        while self._is_whole(whole):
            whole += 1
        if whole < found:
            log_step(f"{'resume':<11}piece {whole} on the disk is damaged; it and those after it are made again")
        for place in self._folder.glob("[0-9]*"):
            if not (place.name.isdigit() and int(place.name) < whole):
                shutil.rmtree(place)

    def _is_whole(self, number: int) -> bool:
        place = self._place(number)
        try:
            sums = json.loads((place / _SUMS).read_text(encoding="ascii"))
            return all(sha256(place / name) == digest for name, digest in sums.items())
        except (OSError, ValueError):
            return False

    def _has_key(self) -> bool:
        path = self._folder / _KEY
        return path.is_file() and path.read_text(encoding="ascii", errors="replace") == self._key

    def _place(self, number: int) -> Path:
        return self._folder / f"{number:04}"


def _mapped(tensor: TensorProto, folder: Path) -> np.memmap:
    """Return the values of a constant whose data is in a file, mapped."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    return np.memmap(
        folder / where["location"],
        helper.tensor_dtype_to_np_dtype(tensor.data_type),
        "r",
        offset=int(where["offset"]),
        shape=tuple(tensor.dims),
    )
