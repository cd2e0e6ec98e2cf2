"""Graphs of one operator of embedge, with seeded weights of a recipe's shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from embedge_export.int8.gptq import limit_pairs
from tests.kernels.cases import Array

Activation = Literal["gelu", "gelu_tanh", "relu"]
# What `down` reads, as the exporter's: a zero point of 25 behind GELU, whose minimum is -0.1701 (activation_scale.py).
CODES = {
    "gelu": {"activation": 0, "zero_point": 25, "step": 1 / 230, "least": 0.1701 / 25},
    "gelu_tanh": {"activation": 1, "zero_point": 25, "step": 1 / 230, "least": 0.1701 / 25},
    "relu": {"activation": 2, "zero_point": 128, "step": 1 / 127, "least": 0.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Of an encoder: the width of its rows, heads of attention, inner width of the feed-forward layers."""

    width: int
    heads: int
    inner: int


# Of the recipes: MiniLM and bge-small, bge-small-zh, bge-base, bge-large and bge-m3. And small ones, that are fast.
MINILM = Shape(width=384, heads=12, inner=1536)
RECIPES = (
    MINILM,
    Shape(width=512, heads=8, inner=2048),
    Shape(width=768, heads=12, inner=3072),
    Shape(width=1024, heads=16, inner=4096),
)
SMALL = (
    Shape(width=64, heads=1, inner=128),
    Shape(width=64, heads=2, inner=64),
    Shape(width=128, heads=4, inner=192),
    Shape(width=192, heads=3, inner=320),
)


class Graph:
    """One node of embedge's domain.

    Attributes:
        kind: the operator.
        attributes: of the node.
        values: of the node's inputs in order: a constant, the name of an input of the graph, or None, left out.
    """

    def __init__(self, kind: str, **attributes: Any) -> None:
        self.kind, self.attributes = kind, attributes
        self.values: list[Array | str | None] = []
        self._inputs: list[Any] = []

    def feed(self, name: str, dtype: type = np.float32, axes: int = 3) -> None:
        """Add an input of the graph, with any size on each axis."""
        shape = [f"{name}_{axis}" for axis in range(axes)]
        self._inputs.append(
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
        )
        self.values.append(name)

    def hold(self, *values: Array | None) -> None:
        """Add constants; None leaves an optional input out."""
        self.values += [None if value is None else np.asarray(value) for value in values]

    def arguments(self, inputs: Mapping[str, Array]) -> list[Array | None]:
        """Return the node's inputs in order, where the graph gets ``inputs``."""
        return [inputs[value] if isinstance(value, str) else value for value in self.values]

    def model(self) -> bytes:
        """The graph as ONNX; onnx does not know the operators, so it checks nothing."""
        constants, names = [], []
        for number, value in enumerate(self.values):
            name = value if isinstance(value, str) else "" if value is None else f"constant_{number}"
            names.append(name)
            if isinstance(value, np.ndarray):
                constants.append(numpy_helper.from_array(value, name))
        node = helper.make_node(self.kind, names, ["output"], domain="embedge", **self.attributes)
        output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
        graph = helper.make_graph([node], self.kind, self._inputs, [output], constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("embedge", 1)]
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def _floats(rng: np.random.Generator, *shape: int, scale: float = 1.0, around: float = 0.0) -> Array:
    return (around + scale * rng.standard_normal(shape)).astype(np.float32)


def _linear(rng: np.random.Generator, depth: int, columns: int, static: float | None) -> list[Array | None]:
    """Codes, scales, bias, static scale. The outputs of rows with a variance of 1 have one of about 1, too."""
    codes = limit_pairs(np.rint(40 * rng.standard_normal((depth, columns))).astype(np.float32)).astype(np.int8)
    scales = rng.uniform(0.5, 1.5, columns) / (40 * np.sqrt(depth)) * (1 if static is None else static)
    bias = _floats(rng, columns, scale=0.1)
    return [codes, scales.astype(np.float32), bias, None if static is None else np.float32(static)]


def encoder_layer(
    shape: Shape,
    *,
    seed: int = 0,
    static: frozenset[str] = frozenset(),
    first_token: bool = False,
    activation: Activation = "gelu",
    residual_scale: bool = False,
) -> Graph:
    """EncoderLayer with seeded weights; ``static`` names those of qkv, q, up whose rows have one scale for all."""
    rng, width, inner = np.random.default_rng(seed), shape.width, shape.inner
    attributes = dict(CODES[activation], num_heads=shape.heads, epsilon=1e-12, first_token=int(first_token))
    graph = Graph("EncoderLayer", **attributes)
    scale_of = {name: 0.03 if name in static else None for name in ("qkv", "q", "up")}
    residual = _floats(rng, 2, width, scale=0.1, around=1) if residual_scale else (None, None)
    graph.feed("hidden")
    qkv = _linear(rng, width, (2 if first_token else 3) * width, scale_of["qkv"])
    qkv[2][-2 * width : -width] = 0  # type: ignore[index]  # keys have no bias: softmax cancels it
    graph.hold(*qkv)
    graph.hold(*(_linear(rng, width, width, scale_of["q"]) if first_token else (None,) * 4))
    graph.hold(*_linear(rng, width, width, None)[:3], residual[0])
    graph.hold(_floats(rng, width, scale=0.1, around=1), _floats(rng, width, scale=0.1))
    graph.hold(*_linear(rng, width, inner, scale_of["up"]))
    graph.hold(*_linear(rng, inner, width, None)[:3], residual[1])
    graph.hold(_floats(rng, width, scale=0.1, around=1), _floats(rng, width, scale=0.1))
    graph.feed("attention_mask", np.int64, 2)
    return graph


def embedding(width: int, *, vocabulary: int = 97, positions: int = 8194, seed: int = 0, given: bool = False) -> Graph:
    """EmbedLayerNorm with seeded embeddings; ``given`` adds the input position_ids."""
    rng = np.random.default_rng(seed)
    graph = Graph("EmbedLayerNorm", epsilon=1e-12)
    graph.feed("input_ids", np.int64, 2)
    graph.feed("attention_mask", np.int64, 2)
    words = rng.integers(-127, 128, (vocabulary, width)).astype(np.int8)
    graph.hold(words, rng.uniform(1e-4, 1e-3, (vocabulary, 1)).astype(np.float32))
    graph.hold(_floats(rng, positions, width, scale=0.02))
    graph.hold(_floats(rng, width, scale=0.1, around=1), _floats(rng, width, scale=0.1))
    if given:
        graph.feed("position_ids", np.int64, 2)
    return graph


def row_linear(
    depth: int, columns: int, *, axes: int = 2, static: bool, bias: bool, activation: int, seed: int = 0
) -> Graph:
    """RowLinear with seeded weights; activation 0 none, 1 tanh, 2 relu."""
    graph = Graph("RowLinear", activation=activation)
    graph.feed("rows", axes=axes)
    linear = _linear(np.random.default_rng(seed), depth, columns, 0.03 if static else None)
    graph.hold(linear[0], linear[1], linear[2] if bias else None, linear[3])
    return graph


def row_dot(depth: int, *, axes: int = 2, relu: bool, seed: int = 0) -> Graph:
    """RowDot with seeded weights."""
    rng = np.random.default_rng(seed)
    graph = Graph("RowDot", relu=int(relu))
    graph.feed("rows", axes=axes)
    graph.hold(_floats(rng, depth, scale=0.1), _floats(rng, 1))
    return graph
