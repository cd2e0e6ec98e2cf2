"""A graph -> its files: the nodes, and beside them the weights, which ONNX Runtime maps into memory instead of reading.

Mapped, a weight that is not used yet takes no memory (most of the word embeddings never are), one that is packed for
the processor leaves none behind, and two sessions share it. One file of bge-small int8 loads in 67 ms and takes 116 MB
to embed a query, two in 37 ms and 104 MB.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.files import delete_existing
from embedge.bundle.manifest import WEIGHTS_SUFFIX
from embedge.errors import CheckpointError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_SMALLEST = 1024  # bytes; smaller constants stay with the nodes
_ALIGNMENT = 64  # bytes: a cache line, and more than any kernel asks for


def write_graph(model: "ModelProto", path: Path) -> None:
    """Writes a graph to ``path``, and its weights beside it.

    Raises:
        CheckpointError: what is not weights is over 2 GB.
    """
    weights = delete_existing(path.with_name(path.name + WEIGHTS_SUFFIX))
    with _moved_out(model, weights):
        try:
            data = model.SerializeToString()
        except Exception as error:  # protobuf's own exceptions, by its version
            raise CheckpointError(
                f"{path.name} is over the 2 GB that one ONNX file can hold; export int8 or fp16"
            ) from error
        delete_existing(path).write_bytes(data)


@contextmanager
def _moved_out(model: "ModelProto", path: Path) -> Iterator[None]:
    """The model with its weights in a file; they are in it again afterwards."""
    from onnx.external_data_helper import set_external_data

    large = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= _SMALLEST]
    kept = [tensor.raw_data for tensor in large]
    try:
        if large:
            with path.open("wb") as file:
                for tensor, data in zip(large, kept, strict=True):
                    file.write(bytes(-file.tell() % _ALIGNMENT))
                    set_external_data(tensor, path.name, offset=file.tell(), length=len(data))
                    tensor.ClearField("raw_data")
                    file.write(data)
        yield
    finally:
        for tensor, data in zip(large, kept, strict=True):
            _take_back(tensor, data)


def _take_back(tensor: "TensorProto", data: bytes) -> None:
    tensor.raw_data = data
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
