"""Give linear layers of an int8 graph rows of 16 bits, so that their rounding causes hardly any error.

A row that ``quantise`` codes in 8 bits has an error of up to half a step. Here the error itself is coded, too, in steps
a 254th as large. Both codes are multiplied by the same int8 weight, and the two products are added::

    x = scale * (codes + fine / 254)        x W = scale * (codes W + fine W / 254)

1. A layer with dynamic scales keeps its first product, and gets a second one.
2. A layer with a static scale gets dynamic scales as well: a static scale clips what calibration has not seen.

The weights do not change, so the bundle's size does not. The second product takes time. Every scale belongs to one row,
and integer sums are exact. So a text's vector still does not depend on its batch.

Only the nodes change. The constants that are external data stay where they are in their file.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge_export.graph.builder import CONTRIB

PRODUCT = "MatMulIntegerToFloat"
FINE = ".fine"  # the end of the name of a second product
SWITCH = ".switch"  # the end of the name of an input that turns a second product off
STEP = 1 / 254  # of the fine codes, as a share of a step of the coarse ones: codes from -127 to 127 span one
_WEIGHT = ".weight.int8"
_STATIC_INPUTS = 7  # a product with a static scale also has an input for the bias


def int8_linear_layers(model: ModelProto) -> list[str]:
    """Return the names of the linear layers of an int8 graph, in the order of the graph.

    Args:
        model: a graph from ``quantise``; its weights may be external data that is not loaded.
    """
    products = (node for node in model.graph.node if node.op_type == PRODUCT and not node.name.endswith(FINE))
    return [_layer_of(node) for node in products]


def with_fine_rows(model: ModelProto, layers: Collection[str], *, switches: bool = False) -> ModelProto:
    """Return an int8 graph in which these linear layers have rows of 16 bits; ``model`` is not changed.

    Args:
        model: a graph from ``quantise``; its weights may be external data that is not loaded.
        layers: names from ``int8_linear_layers`` whose rows have 8 bits so far.
        switches: whether the graph gets an input for each of the layers, the layer's name and ``SWITCH``: float32 [],
            by which the second product is multiplied. ``STEP`` is right, and 0 leaves the layer with rows of 8 bits.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    _FineRows(copy, layers, switches=switches).apply()
    return copy


class _FineRows:
    def __init__(self, model: ModelProto, layers: Collection[str], *, switches: bool) -> None:
        self._model = model
        self._layers = frozenset(layers)
        self._switches = switches
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[NodeProto] = []

    def apply(self) -> None:
        graph = self._model.graph
        products = {
            node.input[0]: node for node in graph.node if node.op_type == PRODUCT and _layer_of(node) in self._layers
        }
        replaced = {node.name for node in products.values()}
        for node in graph.node:
            product = products.get(node.output[0])
            if product is not None:
                self._rewrite(node, product)
            elif node.name not in replaced:
                self._nodes.append(node)
        del graph.node[:]
        graph.node.extend(self._nodes)
        known = {tensor.name for tensor in graph.initializer}
        graph.initializer.extend(tensor for name, tensor in self._constants.items() if name not in known)

    def _rewrite(self, rows: NodeProto, product: NodeProto) -> None:
        """Replace the nodes that quantise a layer's rows and multiply them; ``product`` follows ``rows``."""
        if len(product.input) < _STATIC_INPUTS:
            self._nodes.append(rows)
            self._sum(rows, product, product.output[0])
        else:
            self._static(rows, product)

    def _static(self, rows: NodeProto, product: NodeProto) -> None:
        """Rule 2. The weight's scales contain the static scale, so the sum is divided by it."""
        at, (x, static_scale, _) = _layer_of(product), rows.input
        magnitude = self._op("Abs", [x], f"{at}.abs")
        highest = self._op("ReduceMax", [magnitude, self._constant("ints_-1", [-1])], f"{at}.highest", keepdims=1)
        scale = self._op("Mul", [highest, self._scalar(1 / 127)], f"{at}.row_scale")
        inputs = [x, scale, self._zero_points(scale, f"{at}.zero_points")]
        width = self._width(product)
        coded = helper.make_node("QuantizeLinear", inputs, rows.output, name=rows.name, axis=-1, block_size=width)
        self._nodes.append(coded)
        coarse = helper.make_node(PRODUCT, product.input[:5], [f"{at}.product"], name=f"{at}.product", domain=CONTRIB)
        total = self._sum(coded, coarse, f"{at}.sum")
        ratio = self._op("Div", [scale, static_scale], f"{at}.ratio")
        scaled = self._op("Mul", [total, ratio], f"{at}.scaled")
        self._op("Add", [scaled, product.input[6]], product.output[0])

    def _sum(self, rows: NodeProto, product: NodeProto, output: str) -> str:
        """Rule 1: add the product of the rows' errors to the product of their codes; return ``output``."""
        at, (x, scale, zero_points) = _layer_of(product), rows.input
        block: dict[str, Any] = {"axis": -1, "block_size": self._width(product)}
        coarse = f"{at}.coarse"
        self._nodes.append(helper.make_node(PRODUCT, product.input, [coarse], name=coarse, domain=CONTRIB))
        coded = self._op("DequantizeLinear", [rows.output[0], scale, zero_points], f"{at}.coded", **block)
        error = self._op("Sub", [x, coded], f"{at}.error")
        step = self._op("Mul", [scale, self._scalar(STEP)], f"{at}.fine_scale")
        points = self._zero_points(step, f"{at}.fine_zero_points")
        codes = self._op("QuantizeLinear", [error, step, points], f"{at}.fine_rows", **block)
        inputs = [codes, product.input[1], self._share(at), product.input[3], self._point()]
        fine = self._op(PRODUCT, inputs, f"{at}{FINE}", domain=CONTRIB)
        return self._op("Add", [coarse, fine], output)

    def _share(self, at: str) -> str:
        """The scale of the fine codes: a constant, or an input of the graph."""
        if not self._switches:
            return self._scalar(STEP)
        name = f"{at}{SWITCH}"
        self._model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
        return name

    def _zero_points(self, scale: str, name: str) -> str:
        """A zero point for each scale. It has nodes of its own: the graph's others depend on other layers' rows."""
        shape = self._op("Shape", [scale], f"{name}.shape")
        return self._op("Expand", [self._point(), shape], name)

    def _width(self, product: NodeProto) -> int:
        return int(self._constants[product.input[1]].dims[0])

    def _op(self, kind: str, inputs: Sequence[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def _point(self) -> str:
        return self._constant("uint8_128", np.uint8(128))

    def _scalar(self, value: float) -> str:
        return self._constant(f"float32_{np.float32(value)}", np.float32(value))

    def _constant(self, name: str, values: object) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name


def _layer_of(product: NodeProto) -> str:
    name: str = product.input[1]
    return name.removesuffix(_WEIGHT)
