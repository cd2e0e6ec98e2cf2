"""A graph that gives the same array whatever its input is."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from embedge.bundle.manifest import HIDDEN


def graph_of(
    value: NDArray[np.generic], path: Path, *, declared: int = TensorProto.FLOAT, output: str = HIDDEN
) -> Path:
    """Write a graph that gives this array whatever the ids are, and declares no shape; return its path."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in ("input_ids", "attention_mask")]
    node = helper.make_node("Identity", ["value"], [output])
    initializer = numpy_helper.from_array(value, "value")
    outputs = [helper.make_tensor_value_info(output, declared, None)]
    graph = helper.make_graph([node], "g", inputs, outputs, [initializer])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
