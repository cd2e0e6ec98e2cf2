"""Smooth the inputs of linear layers (SmoothQuant), so that int8 rows lose less precision; the output is the same.

The hidden states of a transformer have a few channels that are far larger than the rest, and most of the range of an
int8 row is spent on them. Smoothing subtracts a shift c_j from channel j of a layer's input, and divides the channel by
a factor s_j. In return it multiplies row j of the weight by s_j, and adds the product of the shift to the bias, so the
output is the same by exact algebra. This moves the difficulty from the rows to the weight. A weight is easier to
quantise: it has a scale for each output, and is rounded only once, with care.

Factors: SmoothQuant (Xiao et al., arXiv:2211.10438). Shifts: Outlier Suppression+ (Wei et al., arXiv:2304.09145).

In a graph from ``build_graph``, what computes a layer's input decides how the input is smoothed:

1. A layer normalisation whose output is also the residual. Its gain and bias absorb the factors and the shift. On the
   residual path, one ``Mul`` restores the factors, and the bias of the block that is added to the residual absorbs the
   shift.
2. The last layer normalisation. Its output is an output of the graph and must not change, so a ``Mul`` in front of the
   layer divides by the factors. There is no shift: it would cost an ``Add`` and, as measured, some precision.
3. Attention. Its output is a weighted mean of rows of V, with weights that sum to 1, so the columns of V absorb the
   factors and the shift at no cost.

A layer behind GELU is not smoothed: nothing in front of GELU can absorb a factor.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge_export.graph.linear import add_to_bias, linear_layers
from embedge_export.int8.moments import Activations
from embedge_export.int8.parallel import for_slices

# SmoothQuant's alpha: the share of the difficulty that moves into the weight. Each layer takes the best of these.
_ALPHAS = np.linspace(0, 1, 21)
_TINY = np.float32(1e-9)  # the least magnitude of a channel: one that is always 0 must not divide by zero

Vector = NDArray[np.float32]


def smooth(model: ModelProto, activations: Mapping[str, Activations]) -> tuple[ModelProto, Mapping[str, Activations]]:
    """Return the smoothed graph of a float32 graph, and its activations; ``model`` is not changed.

    Args:
        model: a graph from ``build_graph``.
        activations: the activations of each linear layer by its name, from ``calibrate``.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy, {**activations, **dict(_Smoothing(copy).apply(activations))}


def smoothing_factors(activations: Activations, weight: NDArray[np.float32]) -> Vector:
    """Return the factor of each input channel, float32 [inputs], that causes the least int8 noise in the output.

    Rounding to multiples of a step causes noise of step² / 12 (uniform quantisation noise). The noise of a row is
    multiplied by the squared weights; the noise of a column of the weight is multiplied by the channels' variances.

    Args:
        activations: the layer's activations, after the shift.
        weight: [inputs, outputs].
    """
    rows, columns = np.abs(activations.rows), np.abs(weight)
    row_max, weight_max = np.maximum(rows.max(axis=0), _TINY), np.maximum(columns.max(axis=1), _TINY)
    power, variance = np.square(weight).sum(axis=1), np.diag(activations.covariance)

    def noise(factor: Vector) -> float:
        row_steps, column_steps = _largest_rows(rows, factor), _largest_columns(columns, factor)
        of_rows = np.square(row_steps).mean() * (np.square(factor) * power).sum()
        of_weights = np.square(column_steps).sum() * (variance / np.square(factor)).sum()
        return float(of_rows + of_weights)

    candidates = (row_max**alpha / weight_max ** (1 - alpha) for alpha in _ALPHAS)
    # Only the ratios between channels matter, so the geometric mean of the factors is set to 1.
    factors = ((factor / np.exp(np.log(factor).mean())).astype(np.float32) for factor in candidates)
    return min(factors, key=noise)


def _largest_rows(rows: NDArray[np.float32], factor: Vector) -> Vector:
    """Return the largest value of each row after each column is divided by its factor."""
    largest = np.empty(len(rows), np.float32)

    def find(part: slice) -> None:
        largest[part] = (rows[part] / factor).max(axis=1)

    for_slices(find, len(rows), width=rows.shape[1])
    return largest


def _largest_columns(weight: NDArray[np.float32], factor: Vector) -> Vector:
    """Return the largest value of each column after each row is multiplied by its factor."""
    largest = np.empty(weight.shape[1], np.float32)

    def find(part: slice) -> None:
        largest[part] = (weight[:, part] * factor[:, None]).max(axis=0)

    for_slices(find, weight.shape[1], width=len(weight))
    return largest


@dataclass
class _Smoothing:
    model: ModelProto
    constants: dict[str, TensorProto] = field(init=False)
    producers: dict[str, NodeProto] = field(init=False)

    def __post_init__(self) -> None:
        self.constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.producers = {output: node for node in self.model.graph.node for output in node.output}

    def apply(self, activations: Mapping[str, Activations]) -> Iterator[tuple[str, Activations]]:
        """Smooth each layer that can be smoothed; yield its name and its activations after that."""
        for layer in linear_layers(self.model):
            producer = self.producers[layer.input[0]]
            if producer.op_type not in ("LayerNormalization", "If"):
                continue
            residual = self._find_residual(layer.input[0])
            if producer.op_type == "LayerNormalization" and residual is None:
                yield layer.name, self._smooth_in_front(layer, activations[layer.name])
                continue
            shift, factor, after = self._smooth_weight(layer, activations[layer.name])
            if residual is not None:
                self._smooth_normalisation(producer, residual, shift, factor)
            else:
                self._smooth_values(producer, shift, factor)
            yield layer.name, after

    def _smooth_weight(self, layer: NodeProto, before: Activations) -> tuple[Vector, Vector, Activations]:
        """Multiply the rows of the weight by the factors, and add the product of the shift to the bias."""
        weight = self._get(layer.input[1])
        shift = np.divide(before.rows.max(axis=0) + before.rows.min(axis=0), 2)
        factor = smoothing_factors(before.smoothed(shift, np.ones_like(shift)), weight)
        self._set(layer.input[1], weight * factor[:, None])
        add_to_bias(self.constants, layer.name, shift.astype(np.float64) @ weight)
        return shift, factor, before.smoothed(shift, factor)

    def _find_residual(self, rows: str) -> NodeProto | None:
        """Return the node that adds ``rows``, the input of a block, to the block's output; None if there is none."""
        return next((node for node in self.model.graph.node if node.op_type == "Add" and node.input[1] == rows), None)

    def _smooth_normalisation(self, norm: NodeProto, add: NodeProto, shift: Vector, factor: Vector) -> None:
        """Case 1: a layer normalisation whose output is also the residual."""
        rows, (_, gain, bias) = norm.output[0], norm.input
        self._set(gain, self._get(gain) / factor)
        self._set(bias, (self._get(bias) - shift) / factor)
        add_to_bias(self.constants, self.producers[add.input[0]].input[0], shift)
        restored, factor_name = f"{rows}.residual", f"{rows}.scale"
        self._set(factor_name, factor)
        self._insert(add, helper.make_node("Mul", [rows, factor_name], [restored], name=restored))
        add.input[1] = restored

    def _smooth_in_front(self, layer: NodeProto, before: Activations) -> Activations:
        """Case 2: the last layer normalisation."""
        weight = self._get(layer.input[1])
        factor = smoothing_factors(before, weight)
        self._set(layer.input[1], weight * factor[:, None])
        smoothed, factor_name = f"{layer.name}.smoothed", f"{layer.name}.smoothed.factor"
        self._set(factor_name, 1 / factor)
        self._insert(layer, helper.make_node("Mul", [layer.input[0], factor_name], [smoothed], name=smoothed))
        layer.input[0] = smoothed
        return before.smoothed(np.zeros_like(factor), factor)

    def _smooth_values(self, attention: NodeProto, shift: Vector, factor: Vector) -> None:
        """Case 3: attention. V is the last third of the packed product."""
        add = self.producers[attention.attribute[0].g.node[0].input[2]]
        weight_name = self.producers[self.producers[add.input[0]].input[0]].input[1]
        weight = self._get(weight_name).copy()
        weight[:, -len(factor) :] /= factor
        self._set(weight_name, weight)
        self._set(add.input[1], (self._get(add.input[1]) - shift) / factor)

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
