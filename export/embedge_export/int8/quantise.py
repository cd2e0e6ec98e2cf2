"""float32 graph -> int8 graph: weights by output channel, activations by token row, each quantised when it is met.

A row's scale depends on that row alone, or on none, so a text's vector does not depend on its batch, and one outlier
token costs no other token its precision. (``onnxruntime.quantization.quantize_dynamic`` has one scale for the whole
batch.)

Rewrites, on a graph of ``graph.build_graph``:

1. ``MatMul(x, W)``: ``x`` becomes uint8 around 128 with scale ``max|row| / 127``; ``MatMulIntegerToFloat`` by int8
   ``W``, and a ``Mul`` by the row's scale. What rounding ``W`` moves the mean product by is taken from the bias.
   (A row of zeros has scale 0: whatever its codes become, the product is multiplied by 0.)
2. ``MatMul(LayerNormalization(x), W)``: the same with one constant scale, where ``row_scale`` finds that this will do;
   ``MatMulIntegerToFloat`` multiplies by it and adds the bias.
3. ``MatMul(Gelu(x), W)``: GELU is never below -0.17, so its codes need little room below the zero point, one for all
   rows of the layer, and nearly all 8 bits are above it.
4. ``Gather`` of word embeddings: int8 rows, each with its scale.
5. ``MultiHeadAttention`` without a mask: ``attention`` chooses the kernel.

``QuantizeLinear`` in blocks as long as a row is what takes a scale for each token without reshaping; ONNX Runtime has
this opset's since 1.24.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge_export.graph.builder import CONTRIB
from embedge_export.graph.first_token import FIRST_TOKEN
from embedge_export.graph.linear import add_to_bias, bias_of
from embedge_export.int8.attention_kernel import LONG, choose_by_length, use_short_kernel
from embedge_export.int8.calibrate import Activations
from embedge_export.int8.rounding import round_weight
from embedge_export.int8.row_scale import GELU_FLOOR, choose_zero_point, constant_scale

_OPSET = 23
_TINY = np.float32(1e-12)  # the scale of a table's row of zeros: any positive number does


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
    zero_points: dict[tuple[int, bool], str] = field(default_factory=dict)
    trimmed: set[str] = field(default_factory=set)  # tensors that hold one token of each text
    is_short: str = ""  # bool [1], once there is an attention to choose for
    added: set[str] = field(default_factory=set)  # names of sums whose product has the bias in it already

    def apply(self) -> None:
        graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.model.opset_import[0].version = _OPSET
        makers = {output: node.op_type for node in graph.node for output in node.output}
        for node in graph.node:
            if FIRST_TOKEN in node.output[0] or not self.trimmed.isdisjoint(inputs_of(node)):
                self.trimmed.update(node.output)
            if node.op_type == "MatMul" and node.input[1] in self.constants:
                maker = makers.get(node.input[0])
                scale = constant_scale(self.activations[node.name]) if maker == "LayerNormalization" else None
                if scale is not None:
                    self._constant_product(node, scale)
                elif maker == "Gelu":
                    self._unsigned_product(node)
                else:
                    self._signed_product(node)
            elif node.op_type == "Gather" and node.input[0] in self.constants:
                self._embedding_rows(node)
            elif node.name not in self.added:
                if node.op_type == "If":
                    self._attention(node)
                self.nodes.append(node)
        used = {name for node in self.nodes for name in inputs_of(node)}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in used)

    def _signed_product(self, node: NodeProto) -> None:
        """Rule 1."""
        magnitude = self._op("Abs", [node.input[0]], f"{node.name}.abs")
        highest = self._op("ReduceMax", [magnitude, self._ints(-1)], f"{node.name}.highest", keepdims=1)
        scale = self._op("Mul", [highest, self._scalar(np.float32(1 / 127))], f"{node.name}.scale")
        self._product(node, scale, zero_point=128)

    def _constant_product(self, node: NodeProto, scale: np.float32) -> None:
        """Rule 2."""
        at, zero_point = node.name, self._scalar(np.uint8(128))
        inputs = [node.input[0], self._constant(f"{at}.scale", np.array(scale)), zero_point]
        quantised = self._op("QuantizeLinear", inputs, f"{at}.rows")
        codes, scales = self._round(node)
        bias = self._constant(f"{at}.whole_bias", bias_of(self.constants, at, len(scales)))
        self._take_bias_in(node)
        scales_of_both = self._constant(f"{node.input[1]}.scales", scale * scales)
        inputs = [quantised, codes, self._scalar(np.float32(1)), scales_of_both, zero_point, "", bias]
        self._op("MatMulIntegerToFloat", inputs, node.output[0], domain=CONTRIB)

    def _take_bias_in(self, node: NodeProto) -> None:
        """The product, or the parts that it is split into, take the place of their sums with a bias."""
        nodes = self.model.graph.node
        split = next((other for other in nodes if other.op_type == "Split" and other.input[0] == node.output[0]), None)
        ends = node.output if split is None else split.output
        for other in nodes:
            if other.op_type == "Add" and other.input[0] in ends and other.input[1] in self.constants:
                self.added.add(other.name)
                ends[list(ends).index(other.input[0])] = other.output[0]

    def _unsigned_product(self, node: NodeProto) -> None:
        """Rule 3."""
        zero_point = choose_zero_point(self.activations[node.name].rows.max(axis=1))
        highest = self._op("ReduceMax", [node.input[0], self._ints(-1)], f"{node.name}.highest", keepdims=1)
        step = self._op("Mul", [highest, self._scalar(np.float32(1 / (255 - zero_point)))], f"{node.name}.step")
        least = self._scalar(GELU_FLOOR / np.float32(zero_point))
        self._product(node, self._op("Max", [step, least], f"{node.name}.scale"), zero_point=zero_point)

    def _product(self, node: NodeProto, scale: str, *, zero_point: int) -> None:
        """Quantised rows times an int8 weight, times the rows' scales."""
        at, (rows, weight) = node.name, node.input
        inputs = [rows, scale, self._zero_points(scale, zero_point, trimmed=rows in self.trimmed)]
        width = self.constants[weight].dims[0]
        quantised = self._op("QuantizeLinear", inputs, f"{at}.rows", axis=-1, block_size=width)
        codes, scales = self._round(node)
        inputs = [
            quantised,
            codes,
            self._scalar(np.float32(1)),
            self._constant(f"{weight}.scales", scales),
            self._scalar(np.uint8(zero_point)),
        ]
        product = self._op("MatMulIntegerToFloat", inputs, f"{at}.product", domain=CONTRIB)
        self.nodes.append(helper.make_node("Mul", [product, scale], [node.output[0]], name=at))

    def _round(self, node: NodeProto) -> tuple[str, NDArray[np.float32]]:
        """Name of a weight's codes, and their scales; what rounding moves the mean product by is in the bias."""
        weight, found = node.input[1], self.activations[node.name]
        exact = numpy_helper.to_array(self.constants[weight])
        codes, scales = round_weight(exact, found.covariance)
        add_to_bias(self.constants, node.name, found.mean.astype(np.float64) @ (exact - codes * scales))
        return self._constant(f"{weight}.int8", codes), scales

    def _embedding_rows(self, node: NodeProto) -> None:
        """Rule 4."""
        table, ids = node.input
        codes, scales = quantise_rows(numpy_helper.to_array(self.constants[table]))
        rows = self._op("Gather", [self._constant(f"{table}.int8", codes), ids], f"{node.name}.int8")
        scale = self._op("Gather", [self._constant(f"{table}.scales", scales[:, None]), ids], f"{node.name}.scales")
        made = helper.make_node(
            "DequantizeLinear", [rows, scale], node.output, name=node.name, axis=-1, block_size=codes.shape[1]
        )
        self.nodes.append(made)

    def _attention(self, node: NodeProto) -> None:
        """Rule 5. One query for each text has no scores to speak of."""
        if not self.trimmed.isdisjoint(inputs_of(node)):
            use_short_kernel(node)
            return
        if not self.is_short:
            tokens = self._op("Shape", ["input_ids"], "tokens", start=1, end=2)
            few = self._op("Less", [tokens, self._ints(LONG)], "few_tokens")
            self.is_short = self._op("And", [few, node.input[0]], "is_short")
        choose_by_length(node, self.is_short)

    def _zero_points(self, scale: str, value: int, *, trimmed: bool) -> str:
        """A zero point for each scale; made once for all products of as many rows."""
        if (value, trimmed) not in self.zero_points:
            at = f"zero_points_{value}{FIRST_TOKEN if trimmed else ''}"
            shape = self._op("Shape", [scale], f"{at}.shape")
            self.zero_points[value, trimmed] = self._op("Expand", [self._scalar(np.uint8(value)), shape], at)
        return self.zero_points[value, trimmed]

    def _op(self, kind: str, inputs: list[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def _scalar(self, value: np.generic) -> str:
        return self._constant(f"{value.dtype.name}_{value}", np.array(value))

    def _ints(self, value: int) -> str:
        return self._constant(f"ints_{value}", np.array([value], np.int64))


def inputs_of(node: NodeProto) -> list[str]:
    """Names that a node reads, its branches' included."""
    inner = [name for attribute in node.attribute for child in attribute.g.node for name in inputs_of(child)]
    return [*node.input, *inner]
