"""The linear layers of a graph of ``graph.build_graph``: products by a constant weight, and where their biases are."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto
from onnx.numpy_helper import from_array, to_array

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
        if name is not None:
            tensor = constants[f"{name}.bias"]
            total = (to_array(tensor) + part).astype(np.float32)
            tensor.CopyFrom(from_array(total, tensor.name))


def bias_of(constants: Mapping[str, TensorProto], layer: str, outputs: int) -> NDArray[np.float32]:
    """What is added to a layer's product, [outputs]; zeros for K.

    Args:
        constants: of the graph, by name.
        layer: the product's name.
        outputs: of the product.
    """
    parts = _parts(layer, np.zeros(outputs, np.float32))
    return np.concatenate([zeros if name is None else to_array(constants[f"{name}.bias"]) for name, zeros in parts])


def _parts(layer: str, values: NDArray[np.floating]) -> Iterator[tuple[str | None, NDArray[np.floating]]]:
    """What a layer's outputs belong to, None for K, and their values."""
    end = next((end for end in _PACKED if layer.endswith(f".attention{end}")), None)
    if end is None:
        yield layer, values
        return
    names = _PACKED[end]
    for name, part in zip(names, np.split(values, len(names)), strict=True):
        yield (None if name is None else f"{layer.removesuffix(end)}.self.{name}"), part
