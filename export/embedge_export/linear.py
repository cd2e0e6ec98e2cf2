"""The linear layers of a graph of ``graph.build_graph``: products by a constant weight, and where their biases are."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

# What the outputs of attention's packed products are, by the end of the product's name. K has no bias.
_PACKED = {".qkv": ("query", None, "value"), ".q": ("query",), ".kv": (None, "value")}


def linear_layers(model: ModelProto) -> list[NodeProto]:
    """The products of a graph by a constant weight, in order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def add_to_bias(constants: Mapping[str, TensorProto], layer: str, values: NDArray[np.floating]) -> None:
    """Adds to what is added to a layer's product; what would go into K's bias changes nothing and is dropped.

    Args:
        constants: of the graph, by name; changed.
        layer: the product's name.
        values: [outputs].
    """
    for name, part in _parts(layer, values):
        tensor = constants[f"{name}.bias"]
        total = (numpy_helper.to_array(tensor) + part).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(total, tensor.name))


def _parts(layer: str, values: NDArray[np.floating]) -> Iterator[tuple[str, NDArray[np.floating]]]:
    end = next((end for end in _PACKED if layer.endswith(f".attention{end}")), None)
    if end is None:
        yield layer, values
        return
    names = _PACKED[end]
    for name, part in zip(names, np.split(values, len(names)), strict=True):
        if name is not None:
            yield f"{layer.removesuffix(end)}.self.{name}", part
