"""Quantise a float32 graph to int8: weights by output channel (static), rows of activations as they arrive (dynamic).

A row is the hidden state of one token. Its scale depends on that row alone, or is known at export. So a text's vector
does not depend on its batch, and an outlier in one token costs the other tokens no precision. In contrast,
``onnxruntime.quantization.quantize_dynamic`` has one scale for the whole batch.

Rules for the nodes of a graph from ``build_graph``:

1. ``MatMul(x, W)``: each row of ``x`` becomes uint8 around the zero point 128, with the dynamic scale
   ``max|row| / 127``. ``MatMulIntegerToFloat`` multiplies it by int8 ``W``, and a ``Mul`` by the row's scale. (A row of
   zeros has scale 0: its codes do not matter, because the product is multiplied by 0.) The bias is corrected for the
   change that rounding ``W`` causes in the mean output (bias correction: Nagel et al., arXiv:1906.04721).
2. ``MatMul(LayerNormalization(x), W)``: the same with a static scale, if ``static_scale`` allows one.
   ``MatMulIntegerToFloat`` then multiplies by the scale and adds the bias.
3. ``MatMul(Gelu(x), W)``: like 1, but GELU is never below -0.17. So a low zero point, one for all rows of the layer,
   leaves nearly all of the 8 bits to positive values.
4. ``Gather`` of word embeddings: int8 rows, each with its scale.
5. ``MultiHeadAttention`` without a mask: ``attention_operator`` chooses the operator.

``QuantizeLinear`` takes a scale for each row without a reshape, if its block is as long as a row. ONNX Runtime supports
that, at this opset, since version 1.24.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge_export.checkpoint.table import Table
from embedge_export.graph.builder import CONTRIB
from embedge_export.graph.linear import add_to_bias, bias_of, inputs_of
from embedge_export.graph.piece import Piece, join, table_constant, whole
from embedge_export.graph.prune import FIRST_TOKEN
from embedge_export.int8.activation_scale import GELU_DEPTH, choose_zero_point, static_scale
from embedge_export.int8.attention_operator import LONG_TEXT, choose_by_length, use_onnx_attention
from embedge_export.int8.gptq import quantise_weight
from embedge_export.int8.moments import Activations

_OPSET = 23
_TINY = np.float32(1e-12)  # the scale of a row of zeros in a table; any positive number would do
_IS_SHORT = "is_short"  # the name of a tensor: whether the texts are short and without padding


def quantise(model: ModelProto, activations: Mapping[str, Activations]) -> ModelProto:
    """Return the int8 graph of a float32 graph; ``model`` is not changed.

    Args:
        model: a graph from ``build_graph``, smoothed and pruned or not.
        activations: the activations of each linear layer by its name, from ``calibrate`` or ``smooth``.
    """
    return join([quantise_piece(whole(model), activations, before=())])


def quantise_piece(piece: Piece, activations: Mapping[str, Activations], *, before: Iterable[NodeProto]) -> Piece:
    """Return the int8 form of a piece of a float32 graph; ``piece`` is not changed.

    Args:
        piece: a piece of a graph, smoothed and pruned or not.
        activations: the activations of each of its linear layers by name.
        before: the nodes of all int8 pieces before. They have made tensors that this piece shares with them.
    """
    copy = piece.copy()
    rewrite = _Rewrite(copy.model, activations, dict(piece.tables))
    rewrite.share(before)
    rewrite.apply()
    return replace(copy, tables=rewrite.tables)


def quantise_rows(table: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the symmetric int8 codes of a table [rows, columns], rounded to nearest, and a scale for each row.

    >>> codes, scales = quantise_rows(np.array([[1.0, -2.0], [0.5, 0.25]], np.float32))
    >>> codes.tolist(), (codes * scales[:, None]).round(1).tolist()
    ([[64, -127], [127, 64]], [[1.0, -2.0], [0.5, 0.30000001192092896]])
    """
    scales = np.maximum(np.abs(table).max(axis=1) / np.float32(127), _TINY).astype(np.float32)
    return np.rint(table / scales[:, None]).astype(np.int8), scales


def _quantise_table(table: Table) -> tuple[Table, NDArray[np.float32]]:
    """Return the codes of a table, as ``quantise_rows`` does."""
    codes, scales = np.empty(table.shape, np.int8), np.empty(table.shape[0], np.float32)
    for start, rows in table.slices():
        place = slice(start, start + len(rows))
        codes[place], scales[place] = quantise_rows(rows)
    return Table.of(codes), scales


@dataclass
class _Rewrite:
    model: ModelProto
    activations: Mapping[str, Activations]
    tables: dict[str, Table]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, TensorProto] = field(default_factory=dict)
    zero_points: set[str] = field(default_factory=set)  # tensors with a zero point for each row; see ``_zero_points``
    one_token: set[str] = field(default_factory=set)  # tensors that hold only the first token of each text
    is_short: str = ""  # bool [1]; made for the first attention that needs it
    absorbed: set[str] = field(default_factory=set)  # names of ``Add`` nodes whose bias the product adds already

    def share(self, nodes: Iterable[NodeProto]) -> None:
        """Note what nodes of earlier pieces have made."""
        for node in nodes:
            self._note_first_token(node)
            if node.name == _IS_SHORT:
                self.is_short = _IS_SHORT
            if node.op_type == "Expand":
                self.zero_points.add(node.name)

    def _note_first_token(self, node: NodeProto) -> None:
        if FIRST_TOKEN in node.output[0] or not self.one_token.isdisjoint(inputs_of(node)):
            self.one_token.update(node.output)

    def apply(self) -> None:
        graph = self.model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.model.opset_import[0].version = _OPSET
        producers = {output: node.op_type for node in graph.node for output in node.output}
        for node in graph.node:
            self._note_first_token(node)
            if node.op_type == "MatMul" and node.input[1] in self.constants:
                self._linear(node, producers.get(node.input[0]))
            elif node.op_type == "Gather" and node.input[0] in self.constants:
                self._embeddings(node)
            elif node.name not in self.absorbed:
                if node.op_type == "If":
                    self._attention(node)
                self.nodes.append(node)
        used = {name for node in self.nodes for name in inputs_of(node)}
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(tensor for name, tensor in self.constants.items() if name in used)

    def _linear(self, node: NodeProto, producer: str | None) -> None:
        """Rewrite a linear layer by what computes its rows."""
        scale = static_scale(self.activations[node.name]) if producer == "LayerNormalization" else None
        if scale is not None:
            self._static_linear(node, scale)
        elif producer == "Gelu":
            self._gelu_linear(node)
        else:
            self._dynamic_linear(node)

    def _dynamic_linear(self, node: NodeProto) -> None:
        """Rule 1: a dynamic scale."""
        magnitude = self._op("Abs", [node.input[0]], f"{node.name}.abs")
        highest = self._op("ReduceMax", [magnitude, self._ints(-1)], f"{node.name}.highest", keepdims=1)
        scale = self._op("Mul", [highest, self._scalar(np.float32(1 / 127))], f"{node.name}.scale")
        self._product(node, scale, zero_point=128)

    def _static_linear(self, node: NodeProto, scale: np.float32) -> None:
        """Rule 2: a static scale."""
        at, zero_point = node.name, self._scalar(np.uint8(128))
        inputs = [node.input[0], self._constant(f"{at}.scale", np.array(scale)), zero_point]
        quantised = self._op("QuantizeLinear", inputs, f"{at}.rows")
        codes, scales = self._quantise_weight(node)
        bias = self._constant(f"{at}.whole_bias", bias_of(self.constants, at, len(scales)))
        self._absorb_bias(node)
        scales_of_both = self._constant(f"{node.input[1]}.scales", scale * scales)
        inputs = [quantised, codes, self._scalar(np.float32(1)), scales_of_both, zero_point, "", bias]
        self._op("MatMulIntegerToFloat", inputs, node.output[0], domain=CONTRIB)

    def _absorb_bias(self, node: NodeProto) -> None:
        """Remove the ``Add`` of a layer's bias: the product, or each part of a split one, gets its output."""
        nodes = self.model.graph.node
        split = next((other for other in nodes if other.op_type == "Split" and other.input[0] == node.output[0]), None)
        outputs = node.output if split is None else split.output
        for other in nodes:
            if other.op_type == "Add" and other.input[0] in outputs and other.input[1] in self.constants:
                self.absorbed.add(other.name)
                outputs[list(outputs).index(other.input[0])] = other.output[0]

    def _gelu_linear(self, node: NodeProto) -> None:
        """Rule 3: rows from GELU, with a low zero point."""
        zero_point = choose_zero_point(self.activations[node.name].rows.max(axis=1))
        highest = self._op("ReduceMax", [node.input[0], self._ints(-1)], f"{node.name}.highest", keepdims=1)
        step = self._op("Mul", [highest, self._scalar(np.float32(1 / (255 - zero_point)))], f"{node.name}.step")
        least = self._scalar(GELU_DEPTH / np.float32(zero_point))
        self._product(node, self._op("Max", [step, least], f"{node.name}.scale"), zero_point=zero_point)

    def _product(self, node: NodeProto, scale: str, *, zero_point: int) -> None:
        """Quantise the rows by dynamic scales, multiply them by the int8 weight, and by the scales of the rows."""
        at, (rows, weight) = node.name, node.input
        inputs = [rows, scale, self._zero_points(scale, zero_point, one_token=rows in self.one_token)]
        width = self.constants[weight].dims[0]
        quantised = self._op("QuantizeLinear", inputs, f"{at}.rows", axis=-1, block_size=width)
        codes, scales = self._quantise_weight(node)
        inputs = [
            quantised,
            codes,
            self._scalar(np.float32(1)),
            self._constant(f"{weight}.scales", scales),
            self._scalar(np.uint8(zero_point)),
        ]
        product = self._op("MatMulIntegerToFloat", inputs, f"{at}.product", domain=CONTRIB)
        self.nodes.append(helper.make_node("Mul", [product, scale], [node.output[0]], name=at))

    def _quantise_weight(self, node: NodeProto) -> tuple[str, NDArray[np.float32]]:
        """Return the name of a weight's codes, and their scales; correct the layer's bias for the mean error."""
        weight, activations = node.input[1], self.activations[node.name]
        exact = numpy_helper.to_array(self.constants[weight])
        codes, scales = quantise_weight(exact, activations.covariance)
        add_to_bias(self.constants, node.name, activations.mean.astype(np.float64) @ (exact - codes * scales))
        return self._constant(f"{weight}.int8", codes), scales

    def _embeddings(self, node: NodeProto) -> None:
        """Rule 4: word embeddings."""
        table, ids = node.input
        known = self.tables.pop(table, None)
        codes, scales = _quantise_table(known or Table.of(numpy_helper.to_array(self.constants[table])))
        self.tables[f"{table}.int8"] = codes
        self.constants[f"{table}.int8"] = table_constant(f"{table}.int8", codes)
        rows = self._op("Gather", [f"{table}.int8", ids], f"{node.name}.int8")
        scale = self._op("Gather", [self._constant(f"{table}.scales", scales[:, None]), ids], f"{node.name}.scales")
        dequantised = helper.make_node(
            "DequantizeLinear", [rows, scale], node.output, name=node.name, axis=-1, block_size=codes.shape[1]
        )
        self.nodes.append(dequantised)

    def _attention(self, node: NodeProto) -> None:
        """Rule 5: attention. With one query for each text, the scores take little memory at any length."""
        if not self.one_token.isdisjoint(inputs_of(node)):
            use_onnx_attention(node)
            return
        if not self.is_short:
            tokens = self._op("Shape", ["input_ids"], "tokens", start=1, end=2)
            few = self._op("Less", [tokens, self._ints(LONG_TEXT)], "few_tokens")
            self.is_short = self._op("And", [few, node.input[0]], _IS_SHORT)
        choose_by_length(node, self.is_short)

    def _zero_points(self, scale: str, value: int, *, one_token: bool) -> str:
        """Return the name of a tensor with a zero point for each scale. All layers with as many rows share it."""
        at = f"zero_points_{value}{FIRST_TOKEN if one_token else ''}"
        if at not in self.zero_points:
            shape = self._op("Shape", [scale], f"{at}.shape")
            self.zero_points.add(self._op("Expand", [self._scalar(np.uint8(value)), shape], at))
        return at

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
