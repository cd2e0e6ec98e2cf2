"""float32 graph -> the same function with smoother activations, so that int8 rows lose less of them.

A transformer's hidden states have a few channels far larger than the rest, and an int8 row spends its range on them.
Dividing channel j of a linear layer's input by s_j, having taken c_j from it, and multiplying row j of the weight by
s_j is exact algebra; it moves the difficulty into the weight, which has a scale for each output, and can be rounded
with care, once.
(Scales: Xiao et al., SmoothQuant, arXiv:2211.10438. Shifts: Wei et al., Outlier Suppression+, arXiv:2304.09145.)

Rewrites, on a graph of ``graph.build_graph``:

1. The input is a layer normalisation's output, which is also the residual: its gain and bias take the scale and the
   shift in. On the residual path one ``Mul`` brings the scale back; the shift goes into the bias of the block that the
   residual is added to.
2. The input is the last layer normalisation's output, which is one of the graph's: a ``Mul`` in front of the product
   takes the scale out. There is no shift; it would cost an ``Add`` and, measured, some precision.
3. The input is attention's output, a mean of values weighted by numbers that sum to 1: the columns of V take both in,
   at no cost.

GELU's output is left alone: nothing in front of it could take a scale in.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge_export.graph.linear import add_to_bias, linear_layers
from embedge_export.int8.calibrate import Activations

# Share of the difficulty that moves into the weight; SmoothQuant's alpha. Each layer takes the best of these.
_SHARES = np.linspace(0, 1, 21)
_TINY = np.float32(1e-9)  # least channel magnitude: a dead channel must not divide by zero

Vector = NDArray[np.float32]


def smooth(model: ModelProto, activations: Mapping[str, Activations]) -> tuple[ModelProto, Mapping[str, Activations]]:
    """The smoothed graph of a float32 graph, which is left as it is, and the activations that it has.

    Args:
        model: a graph of ``graph.build_graph``.
        activations: by linear layer's name, from ``calibrate``.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy, {**activations, **dict(_Rewrite(copy).apply(activations))}


def choose_scales(activations: Activations, weight: NDArray[np.float32]) -> Vector:
    """The scale of each input channel, [inputs], that leaves the least int8 noise in the product.

    Noise of a row is its step squared, over 12 (uniform rounding), through every squared weight; noise of a weight's
    column is its step squared, over 12, through every channel's variance.

    Args:
        activations: of the layer, shifted already.
        weight: [inputs, outputs].
    """
    height = np.maximum(np.abs(activations.rows).max(axis=0), _TINY)
    width = np.maximum(np.abs(weight).max(axis=1), _TINY)
    power, variance = np.square(weight).sum(axis=1), np.diag(activations.covariance)

    def noise(scale: Vector) -> float:
        row_steps = np.abs(activations.rows / scale).max(axis=1)
        column_steps = np.abs(weight * scale[:, None]).max(axis=0)
        of_rows = np.square(row_steps).mean() * (np.square(scale) * power).sum()
        of_weights = np.square(column_steps).sum() * (variance / np.square(scale)).sum()
        return float(of_rows + of_weights)

    candidates = (height**share / width ** (1 - share) for share in _SHARES)
    # Only ratios between channels matter; a common factor would sit idly in all numbers.
    scales = ((scale / np.exp(np.log(scale).mean())).astype(np.float32) for scale in candidates)
    return min(scales, key=noise)


@dataclass
class _Rewrite:
    model: ModelProto
    constants: dict[str, TensorProto] = field(init=False)
    makers: dict[str, NodeProto] = field(init=False)

    def __post_init__(self) -> None:
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.makers = {output: node for node in self.model.graph.node for output in node.output}

    def apply(self, activations: Mapping[str, Activations]) -> Iterator[tuple[str, Activations]]:
        """Smooths every layer that can be; yields its name and its activations then."""
        for node in linear_layers(self.model):
            maker = self.makers[node.input[0]]
            if maker.op_type not in ("LayerNormalization", "If"):
                continue
            residual = self._find_residual(node.input[0])
            if maker.op_type == "LayerNormalization" and residual is None:
                yield node.name, self._smooth_in_front(node, activations[node.name])
                continue
            shift, scale, after = self._smooth_weight(node, activations[node.name])
            if residual is not None:
                self._smooth_normalisation(maker, residual, shift, scale)
            else:
                self._smooth_values(maker, shift, scale)
            yield node.name, after

    def _smooth_weight(self, node: NodeProto, before: Activations) -> tuple[Vector, Vector, Activations]:
        """Multiplies the weight's rows, and takes the shift's product into the bias."""
        weight = self._get(node.input[1])
        shift = (before.rows.max(axis=0) + before.rows.min(axis=0)) / 2
        scale = choose_scales(before.smoothed(shift, np.ones_like(shift)), weight)
        self._set(node.input[1], weight * scale[:, None])
        add_to_bias(self.constants, node.name, shift.astype(np.float64) @ weight)
        return shift, scale, before.smoothed(shift, scale)

    def _find_residual(self, rows: str) -> NodeProto | None:
        """The sum of a block and of what enters it."""
        return next((node for node in self.model.graph.node if node.op_type == "Add" and node.input[1] == rows), None)

    def _smooth_normalisation(self, norm: NodeProto, add: NodeProto, shift: Vector, scale: Vector) -> None:
        """Rule 1."""
        rows, (_, gain, bias) = norm.output[0], norm.input
        self._set(gain, self._get(gain) / scale)
        self._set(bias, (self._get(bias) - shift) / scale)
        add_to_bias(self.constants, self.makers[add.input[0]].input[0], shift)
        unscaled, factor = f"{rows}.residual", f"{rows}.scale"
        self._set(factor, scale)
        self._insert(add, helper.make_node("Mul", [rows, factor], [unscaled], name=unscaled))
        add.input[1] = unscaled

    def _smooth_in_front(self, layer: NodeProto, before: Activations) -> Activations:
        """Rule 2."""
        weight = self._get(layer.input[1])
        scale = choose_scales(before, weight)
        self._set(layer.input[1], weight * scale[:, None])
        smoothed, factor = f"{layer.name}.smoothed", f"{layer.name}.smoothed.factor"
        self._set(factor, 1 / scale)
        self._insert(layer, helper.make_node("Mul", [layer.input[0], factor], [smoothed], name=smoothed))
        layer.input[0] = smoothed
        return before.smoothed(np.zeros_like(scale), scale)

    def _smooth_values(self, attention: NodeProto, shift: Vector, scale: Vector) -> None:
        """Rule 3: V is the last third of the packed product."""
        add = self.makers[attention.attribute[0].g.node[0].input[2]]
        weight_name = self.makers[self.makers[add.input[0]].input[0]].input[1]
        weight = self._get(weight_name).copy()
        weight[:, -len(scale) :] /= scale
        self._set(weight_name, weight)
        self._set(add.input[1], (self._get(add.input[1]) - shift) / scale)

    def _insert(self, before: NodeProto, node: NodeProto) -> None:
        nodes = self.model.graph.node
        nodes.insert(list(nodes).index(before), node)

    def _get(self, name: str) -> NDArray[np.float32]:
        values: NDArray[np.float32] = numpy_helper.to_array(self.constants[name])
        return values

    def _set(self, name: str, values: NDArray[np.floating]) -> None:
        if name not in self.constants:
            self.constants[name] = self.model.graph.initializer.add()
        self.constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
