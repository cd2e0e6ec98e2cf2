"""Write a graph to two files: the nodes, and the weights beside them ("external data" in ONNX).

ONNX Runtime maps the second file into memory instead of reading it. A mapped weight takes no memory until it is used
(most rows of the word embeddings never are) or after it has been prepacked for the processor, and two sessions share
it. In one file, bge-small int8 loads in 67 ms and takes 116 MB to embed a query; in two, 37 ms and 104 MB.
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

_MIN_EXTERNAL = 1024  # bytes; smaller constants stay with the nodes
_ALIGNMENT = 64  # bytes: a cache line, which is enough for any kernel


def write_graph(model: "ModelProto", path: Path) -> None:
    """Write a graph to ``path``, and its weights beside it.

    Raises:
        CheckpointError: the graph without its weights is over 2 GB, the limit of protobuf.
    """
    weights = delete_existing(path.with_name(path.name + WEIGHTS_SUFFIX))
    with _external_data(model, weights):
        try:
            data = model.SerializeToString()
        except Exception as error:  # protobuf's, whose type depends on its version
            raise CheckpointError(
                f"{path.name} is over the 2 GB that one ONNX file can hold; "
                "run `embedge export` with --precision int8 or fp16"
            ) from error
        delete_existing(path).write_bytes(data)


@contextmanager
def _external_data(model: "ModelProto", path: Path) -> Iterator[None]:
    """Move the weights of a model to a file for the time of the block; afterwards they are in the model again."""
    from onnx.external_data_helper import set_external_data

    large = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= _MIN_EXTERNAL]
    data_of = [tensor.raw_data for tensor in large]
    try:
        if large:
            with path.open("wb") as file:
                for tensor, data in zip(large, data_of, strict=True):
                    file.write(bytes(-file.tell() % _ALIGNMENT))
                    set_external_data(tensor, path.name, offset=file.tell(), length=len(data))
                    tensor.ClearField("raw_data")
                    file.write(data)
        yield
    finally:
        for tensor, data in zip(large, data_of, strict=True):
            _restore(tensor, data)


def _restore(tensor: "TensorProto", data: bytes) -> None:
    tensor.raw_data = data
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
