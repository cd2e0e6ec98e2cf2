"""Find the linear layers of a graph from ``build_graph``, and read and change their biases."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto
from onnx.numpy_helper import from_array, to_array

# The parts of the packed products of attention, by the end of the product's name. None is K, which has no bias.
_PACKED = {".qkv": ("query", None, "value"), ".q": ("query",), ".kv": (None, "value")}


def linear_layers(model: ModelProto) -> list[NodeProto]:
    """Return the nodes that multiply by a constant weight, in the order of the graph."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constants]


def inputs_of(node: NodeProto) -> list[str]:
    """Return the names of the tensors that a node reads, those of its branches included."""
    inner = [name for attribute in node.attribute for child in attribute.g.node for name in inputs_of(child)]
    return [*node.input, *inner]


def add_to_bias(constants: Mapping[str, TensorProto], layer: str, values: NDArray[np.floating]) -> None:
    """Add values to a layer's bias. Values for K are dropped: a bias of K does not change attention (see ``encoder``).

    Args:
        constants: the graph's initializers by name; the biases in it are changed.
        layer: the name of the layer's ``MatMul``.
        values: what to add, [outputs].
    """
    for name, part in _bias_parts(layer, values):
        if name is not None:
            tensor = constants[f"{name}.bias"]
            total = (to_array(tensor) + part).astype(np.float32)
            tensor.CopyFrom(from_array(total, tensor.name))


def bias_of(constants: Mapping[str, TensorProto], layer: str, outputs: int) -> NDArray[np.float32]:
    """Return a layer's bias, float32 [outputs]; zeros for K.

    Args:
        constants: the graph's initializers by name.
        layer: the name of the layer's ``MatMul``.
        outputs: the number of its outputs.
    """
    parts = _bias_parts(layer, np.zeros(outputs, np.float32))
    return np.concatenate([zeros if name is None else to_array(constants[f"{name}.bias"]) for name, zeros in parts])


def _bias_parts(layer: str, values: NDArray[np.floating]) -> Iterator[tuple[str | None, NDArray[np.floating]]]:
    """Yield each part of a layer that has a bias of its own (None for K), with its part of the values."""
    suffix = next((end for end in _PACKED if layer.endswith(f".attention{end}")), None)
    if suffix is None:
        yield layer, values
        return
    names = _PACKED[suffix]
    for name, part in zip(names, np.split(values, len(names)), strict=True):
        yield (None if name is None else f"{layer.removesuffix(suffix)}.self.{name}"), part
