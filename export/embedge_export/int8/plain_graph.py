"""Look up the parts of an int8 graph by the structured names that the graph's builder and ``quantise`` give them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import to_array

from embedge_export.graph.linear import bias_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearLayer:
    """The tensors of an int8 linear layer, by name.

    Attributes:
        rows: what it reads, float32, before it is quantised.
        weight: int8 [inputs, outputs].
        scales: float32 [outputs]; those of a static layer contain the scale of the rows.
        bias: float32 [outputs]; None if no constant of the graph is the whole bias.
        static_scale: the scale of all rows, float32 []; empty if each row has a dynamic scale.
    """

    rows: str
    weight: str
    scales: str
    bias: str | None
    static_scale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCoding:
    """How the rows that enter a layer become uint8: codes = rint(row / scale) + zero_point.

    Attributes:
        zero_point: the code of 0.
        step: a row's scale is max(largest * step, least); ``largest`` is the row's largest value or magnitude.
        least: the smallest scale.
    """

    zero_point: int
    step: float
    least: float


class PlainGraph:
    """An int8 graph from ``quantise``, and the ways to find things in it.

    Args:
        model: the graph. Its weights may be external data.
        folder: the folder of its external data.
    """

    def __init__(self, model: ModelProto, folder: Path) -> None:
        self.model = model
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producers = {output: node for node in model.graph.node for output in node.output}
        self._products = {node.input[1]: node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"}
        self._folder = folder

    @property
    def layers(self) -> list[str]:
        """The names of the encoder's layers, in order."""
        end = ".intermediate.dense.weight.int8"
        return [weight.removesuffix(end) for weight in self._products if weight.endswith(end)]

    @property
    def outputs(self) -> list[str]:
        """The names of the graph's outputs."""
        return [output.name for output in self.model.graph.output]

    def has_linear(self, at: str) -> bool:
        """Whether the graph has a linear layer of this name."""
        return f"{at}.weight.int8" in self._products

    def linear(self, at: str) -> LinearLayer:
        """Return the tensors of a linear layer."""
        product = self._products[f"{at}.weight.int8"]
        quantiser, is_static = self.producers[product.input[0]], len(product.input) > 6
        bias = product.input[6] if is_static else f"{at}.bias"
        return LinearLayer(
            rows=quantiser.input[0],
            weight=product.input[1],
            scales=product.input[3],
            bias=bias if bias in self.constants else None,
            static_scale=quantiser.input[1] if is_static else "",
        )

    def row_coding(self, at: str) -> RowCoding:
        """Return how a linear layer with dynamic scales codes its rows."""
        product = self._products[f"{at}.weight.int8"]
        scale, least = self.producers[self.producers[product.input[0]].input[1]], 0.0
        if scale.op_type == "Max":
            step, smallest = scale.input
            scale, least = self.producers[step], float(self.values(smallest))
        zero_point = int(self.values(product.input[4]))
        return RowCoding(zero_point=zero_point, step=float(self.values(scale.input[1])), least=least)

    def residual_scale(self, norm: str) -> str:
        """Return the factors on the residual path in front of a layer normalisation; empty if there are none."""
        added = self.producers[self.producers[norm].input[0]].input[1]
        node = self.producers[added]
        return node.input[1] if node.op_type == "Mul" else ""

    def num_heads(self, at: str) -> int:
        """Return the number of attention heads of an encoder's layer."""
        node = next(_attention_nodes(self.producers[f"{at}.attention.self"]))
        return int(next(a.i for a in node.attribute if a.name in ("num_heads", "q_num_heads")))

    def epsilon(self, norm: str) -> float:
        """Return the epsilon of a layer normalisation."""
        return float(next(a.f for a in self.producers[norm].attribute if a.name == "epsilon"))

    def whole_bias(self, at: str) -> NDArray[np.float32]:
        """Return the bias of a linear layer, float32 [outputs]; zeros for K."""
        biases = {name: self._loaded(tensor) for name, tensor in self.constants.items() if name.endswith(".bias")}
        return bias_of(biases, at, self.constants[f"{at}.weight.int8"].dims[1])

    def ancestors(self, tensor: str, *, until: str) -> list[NodeProto]:
        """Return the nodes that compute a tensor, in order, from inputs, constants and the tensor ``until``."""
        node = self.producers.get(tensor)
        if node is None or tensor == until:
            return []
        found = [other for name in node.input for other in self.ancestors(name, until=until)]
        return list({other.output[0]: other for other in (*found, node)}.values())  # each node once

    def values(self, name: str) -> NDArray[np.generic]:
        """Return the values of a constant."""
        values: NDArray[np.generic] = to_array(self._loaded(self.constants[name]))
        return values

    def _loaded(self, tensor: TensorProto) -> TensorProto:
        """Return a tensor with its data; external data is read from its file."""
        if tensor.data_location != TensorProto.EXTERNAL:
            return tensor
        where = {entry.key: entry.value for entry in tensor.external_data}
        with (self._folder / where["location"]).open("rb") as file:
            file.seek(int(where["offset"]))
            data = file.read(int(where["length"]))
        return helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, data, raw=True)


def _attention_nodes(node: NodeProto) -> Iterator[NodeProto]:
    """Yield the attention nodes in the branches of an ``If``, or the node itself."""
    branches = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    if not branches:
        yield node
    for branch in branches:
        for inner in branch.node:
            yield from _attention_nodes(inner)
