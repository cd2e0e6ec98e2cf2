"""Write a graph to two files: the nodes, and the weights beside them ("external data" in ONNX).

ONNX Runtime maps the second file into memory instead of reading it. A mapped weight takes no memory until it is used
(most rows of the word embeddings never are) or after it has been prepacked for the processor, and two sessions share
it. In one file, bge-small int8 loads in 67 ms and takes 116 MB to embed a query; in two, 37 ms and 104 MB.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from embedge.bundle.files import delete_existing
from embedge.bundle.manifest import WEIGHTS_SUFFIX
from embedge_export.checkpoint.table import Table

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

    from embedge_export.graph.piece import Piece

_MIN_EXTERNAL = 1024  # bytes; smaller constants stay with the nodes
_ALIGNMENT = 64  # bytes: a cache line, which is enough for any kernel


def write_graph(model: "ModelProto", path: Path) -> int:
    """Write a whole graph to ``path``, and its weights beside it; return the size of its constants in bytes."""
    from embedge_export.graph.piece import whole

    return write_pieces([whole(model)], path)


def write_pieces(pieces: "Iterable[Piece]", path: Path) -> int:
    """Write a graph to ``path``, and its weights beside it, piece by piece.

    The weights of a piece are written before the next piece is asked for, so only one piece is in memory.

    Returns:
        The size of its constants in bytes.
    """
    from onnx import ModelProto

    from embedge_export.graph.piece import append

    weights = delete_existing(path.with_name(path.name + WEIGHTS_SUFFIX))
    model, names, size = ModelProto(), set[str](), 0
    with weights.open("wb") as file:
        for piece in pieces:
            new = [tensor for tensor in piece.model.graph.initializer if tensor.name not in names]
            names.update(tensor.name for tensor in new)
            constants = [_write(tensor, piece.tables.get(tensor.name), file, weights.name) for tensor in new]
            append(model, piece.model, constants)
            size += piece.nbytes
        if not file.tell():
            weights.unlink()
    delete_existing(path).write_bytes(model.SerializeToString())
    return size


def _write(tensor: "TensorProto", table: Table | None, file: BinaryIO, location: str) -> "TensorProto":
    """Write a constant's data, if it is large, and return the constant that refers to the data."""
    from onnx import TensorProto

    length = len(tensor.raw_data) if table is None else table.nbytes
    if length < _MIN_EXTERNAL and table is None:
        return tensor
    file.write(bytes(-file.tell() % _ALIGNMENT))
    reference = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    reference.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", file.tell()), ("length", length)):
        reference.external_data.add(key=key, value=str(value))
    for data in [tensor.raw_data] if table is None else _parts(table):
        file.write(data)
    return reference


def _parts(table: Table) -> Iterator[Any]:
    for _, rows in table.slices():
        yield np.ascontiguousarray(rows).data
