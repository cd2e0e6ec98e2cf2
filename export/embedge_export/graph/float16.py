"""Convert a float32 graph to float16: half the bytes, and the fastest on a GPU. Inputs and outputs keep their types."""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from embedge.errors import CheckpointError
from embedge_export.graph.piece import Piece, table_constant, whole

_LARGEST = float(np.finfo(np.float16).max)


def to_float16(model: ModelProto) -> ModelProto:
    """Return the float16 graph of a float32 graph; ``model`` is not changed. See ``piece_to_float16``."""
    return piece_to_float16(whole(model)).model


def piece_to_float16(piece: Piece) -> Piece:
    """Return the float16 form of a piece of a float32 graph; ``piece`` is not changed.

    Every float32 constant becomes float16, so all arithmetic is in float16. The graph's outputs are cast back to
    float32.

    Raises:
        CheckpointError: a weight is beyond 65,504, the largest float16. Reading a table raises it, too.
    """
    tables = {name: table.mapped(partial(_halved, name=name), np.float16) for name, table in piece.tables.items()}
    copy = replace(piece.copy(), tables=tables)
    graph = copy.model.graph
    for tensor in graph.initializer:
        if tensor.name in tables:
            tensor.CopyFrom(table_constant(tensor.name, tables[tensor.name]))
        elif tensor.data_type == TensorProto.FLOAT:
            halved = _halved(numpy_helper.to_array(tensor), name=tensor.name)
            tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))
    for branch in _branches(graph):
        for output in branch.output:
            output.type.tensor_type.elem_type = TensorProto.FLOAT16
    for result in [output.name for output in graph.output]:
        last = next(node for node in graph.node if result in node.output)
        last.output[0] = f"{result}.fp16"
        cast = helper.make_node("Cast", [f"{result}.fp16"], [result], to=TensorProto.FLOAT, name=f"{result}.to_float32")
        graph.node.append(cast)
    return copy


def _halved(values: NDArray[np.float32], *, name: str) -> NDArray[np.float16]:
    if np.abs(values).max(initial=0) > _LARGEST:
        raise CheckpointError(
            f"{name} exceeds {_LARGEST:.0f}, the largest float16; run `embedge export` with --precision int8 or fp32"
        )
    return values.astype(np.float16)


def _branches(graph: GraphProto) -> list[GraphProto]:
    """Return the branches of every ``If``."""
    return [attribute.g for node in graph.node for attribute in node.attribute if node.op_type == "If"]
