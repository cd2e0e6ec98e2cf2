"""float32 graph -> int8 graph: weights by output channel, activations by token row, each quantised when it is met.

A row's scale depends on that row alone, so a text's vector does not depend on its batch, and one outlier token costs no
other token its precision. (``onnxruntime.quantization.quantize_dynamic`` has one scale for the whole batch.)

Rewrites, on a graph of ``graph.build_graph``:

1. ``MatMul(x, W)``: ``x`` becomes uint8 around 128 with scale ``max|row| / 127``; ``MatMulIntegerToFloat`` by int8
   ``W``, and a ``Mul`` by the row's scale. What rounding ``W`` moves the mean product by is taken from the bias.
2. ``MatMul(Gelu(x), W)``: GELU is never below -0.17, so shifted by that its rows are unsigned and use all 8 bits; the
   shift's share of the product is a constant and goes into the bias too.
3. ``Gather`` of word embeddings: int8 rows, each with its scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge_export.builder import CONTRIB
from embedge_export.calibrate import Activations
from embedge_export.rounding import round_weight

# min over x of x * Phi(x) is -0.16997 (at x = -0.7518); the tanh approximation's is -0.17004.
GELU_SHIFT = np.float32(0.1701)
_TINY = np.float32(1e-12)  # the scale of a row of zeros: any positive number does


def quantise(model: ModelProto, activations: Mapping[str, Activations]) -> ModelProto:
    """The int8 graph of a float32 graph, which is left as it is.

    Args:
        model: a graph of ``graph.build_graph``, smoothed or not.
        activations: what enters its linear layers, by their names, from ``calibrate`` or ``smooth``.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    _Rewrite(copy, activations).apply()
    return copy


def quantise_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 codes of a table [rows, columns], rounded to nearest, and one scale for each row.

    >>> codes, scales = quantise_rows(np.array([[1.0, -2.0], [0.5, 0.25]], np.float32))
    >>> codes.tolist(), (codes * scales[:, None]).round(1).tolist()
    ([[64, -127], [127, 64]], [[1.0, -2.0], [0.5, 0.30000001192092896]])
    """
    scales = np.maximum(np.abs(table).max(axis=1) / np.float32(127), _TINY).astype(np.float32)
    return np.rint(table / scales[:, None]).astype(np.int8), scales


@dataclass
class _Rewrite:
    model: ModelProto
    activations: Mapping[str, Activations]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, TensorProto] = field(default_factory=dict)
    zero_points: dict[int, str] = field(default_factory=dict)

    def apply(self) -> None:
        graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        makers = {output: node.op_type for node in graph.node for output in node.output}
        for node in graph.node:
            if node.op_type == "MatMul" and node.input[1] in self.constants:
                if makers.get(node.input[0]) == "Gelu":
                    self._unsigned_product(node)
                else:
                    self._signed_product(node)
            elif node.op_type == "Gather" and node.input[0] in self.constants:
                self._embedding_rows(node)
            else:
                self.nodes.append(node)
        used = {name for node in self.nodes for name in _inputs(node)}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in used)

    def _signed_product(self, node: NodeProto) -> None:
        """Rule 1."""
        at, (rows, weight) = node.name, node.input
        magnitude = self._op("Abs", [rows], f"{at}.abs")
        highest = self._op("ReduceMax", [magnitude, self._ints(1)], f"{at}.highest", keepdims=1)
        scale = self._op("Mul", [highest, self._scalar(np.float32(1 / 127))], f"{at}.raw_scale")
        self._product(node, rows, weight, scale, zero_point=128)

    def _unsigned_product(self, node: NodeProto) -> None:
        """Rule 2."""
        at, (rows, weight) = node.name, node.input
        shift = self._scalar(GELU_SHIFT)
        highest = self._op("ReduceMax", [rows, self._ints(1)], f"{at}.highest", keepdims=1)
        span = self._op("Add", [highest, shift], f"{at}.span")
        scale = self._op("Mul", [span, self._scalar(np.float32(1 / 255))], f"{at}.raw_scale")
        shifted = self._op("Add", [rows, shift], f"{at}.shifted")
        rounded = self._product(node, shifted, weight, scale, zero_point=0)
        self._add_to_bias(node, -rounded.sum(axis=0, dtype=np.float64) * float(GELU_SHIFT))

    def _product(self, node: NodeProto, rows: str, weight: str, scale: str, *, zero_point: int) -> NDArray[np.float32]:
        """Quantised rows times an int8 weight, times the rows' scales; returns the weight as it is after rounding."""
        at = node.name
        scale = self._op("Max", [scale, self._scalar(_TINY)], f"{at}.scale")
        vector = self._op("Reshape", [scale, self._ints(-1)], f"{at}.row_scales")
        quantised = self._op(
            "QuantizeLinear", [rows, vector, self._zero_points(vector, zero_point)], f"{at}.rows", axis=0
        )
        exact, found = numpy_helper.to_array(self.constants[weight]), self.activations[at]
        codes, scales = round_weight(exact, found.covariance)
        rounded: NDArray[np.float32] = codes * scales
        self._add_to_bias(node, found.mean.astype(np.float64) @ (exact - rounded))
        inputs = [
            quantised,
            self._constant(f"{weight}.int8", codes),
            self._scalar(np.float32(1)),
            self._constant(f"{weight}.scales", scales),
            self._scalar(np.uint8(zero_point)),
        ]
        product = self._op("MatMulIntegerToFloat", inputs, f"{at}.product", domain=CONTRIB)
        self.nodes.append(helper.make_node("Mul", [product, scale], [node.output[0]], name=at))
        return rounded

    def _embedding_rows(self, node: NodeProto) -> None:
        """Rule 3."""
        table, ids = node.input
        codes, scales = quantise_rows(numpy_helper.to_array(self.constants[table]))
        rows = self._op("Gather", [self._constant(f"{table}.int8", codes), ids], f"{node.name}.int8")
        scale = self._op("Gather", [self._constant(f"{table}.scales", scales), ids], f"{node.name}.scales")
        self.nodes.append(helper.make_node("DequantizeLinear", [rows, scale], node.output, name=node.name, axis=0))

    def _add_to_bias(self, node: NodeProto, values: NDArray[np.float64]) -> None:
        name = f"{node.name}.bias"
        self._constant(name, (numpy_helper.to_array(self.constants[name]) + values).astype(np.float32))

    def _zero_points(self, rows: str, value: int) -> str:
        """One zero point for each row, as many as ``rows`` has elements; made once for all products."""
        if value not in self.zero_points:
            count = self._op("Shape", [rows], f"row_count_{value}")
            point = self._constant(f"zero_point_{value}", np.array([value], np.uint8))
            self.zero_points[value] = self._op("Expand", [point, count], f"zero_points_{value}")
        return self.zero_points[value]

    def _op(self, kind: str, inputs: list[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _scalar(self, value: np.generic) -> str:
        return self._constant(f"{value.dtype.name}_{value}", np.array(value))

    def _ints(self, value: int) -> str:
        return self._constant(f"ints_{value}", np.array([value], np.int64))


def _inputs(node: NodeProto) -> list[str]:
    """Names that a node reads, its branches' included."""
    inner = [name for attribute in node.attribute for child in attribute.g.node for name in _inputs(child)]
    return [*node.input, *inner]
