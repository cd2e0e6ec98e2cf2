"""float32 graph -> float16 graph: half the bytes, and what a GPU runs fastest. Inputs and outputs keep their types."""

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from embedge.errors import CheckpointError

_HIGHEST = float(np.finfo(np.float16).max)


def halve(model: ModelProto) -> ModelProto:
    """The float16 graph of a float32 graph, which is left as it is.

    Every float constant becomes float16, and with them all arithmetic between; the outputs are cast
    back.

    Raises:
        CheckpointError: a weight is too large for float16 (beyond 65,504).
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if np.abs(values).max(initial=0) > _HIGHEST:
                raise CheckpointError(f"{tensor.name} exceeds float16's {_HIGHEST:.0f}; export int8 or fp32 instead")
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
    """The branches of every ``If``."""
    return [attribute.g for node in graph.node for attribute in node.attribute if node.op_type == "If"]
