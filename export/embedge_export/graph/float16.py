"""Convert a float32 graph to float16: half the bytes, and the fastest on a GPU. Inputs and outputs keep their types."""

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from embedge.errors import CheckpointError

_LARGEST = float(np.finfo(np.float16).max)


def to_float16(model: ModelProto) -> ModelProto:
    """Return the float16 graph of a float32 graph; ``model`` is not changed.

    Every float32 constant becomes float16, so all arithmetic is in float16. The outputs are cast back to float32.

    Raises:
        CheckpointError: a weight is beyond 65,504, the largest float16.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if np.abs(values).max(initial=0) > _LARGEST:
                raise CheckpointError(
                    f"{tensor.name} exceeds {_LARGEST:.0f}, the largest float16; "
                    "run `embedge export` with --precision int8 or fp32"
                )
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    for branch in _branches(graph):
        for output in branch.output:
            output.type.tensor_type.elem_type = TensorProto.FLOAT16
    for result in [output.name for output in graph.output]:
        last = next(node for node in graph.node if result in node.output)
        last.output[0] = f"{result}.fp16"
        cast = helper.make_node("Cast", [f"{result}.fp16"], [result], to=TensorProto.FLOAT, name=f"{result}.to_float32")
        graph.node.append(cast)
    return copy


def _branches(graph: GraphProto) -> list[GraphProto]:
    """Return the branches of every ``If``."""
    return [attribute.g for node in graph.node for attribute in node.attribute if node.op_type == "If"]
