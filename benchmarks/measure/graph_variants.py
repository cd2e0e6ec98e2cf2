"""Replace the linear layers of an int8 graph by other operators of ONNX Runtime, to see how fast these are.

1. Static: all rows of a layer have one constant scale. No node computes a scale or multiplies by it, and
   ``MatMulIntegerToFloat`` adds the bias.
2. In blocks: ``MatMulNBits`` takes float32 rows, quantises them in blocks, and adds the bias. The weights are the same
   int8 codes.

For benchmarks only: a static scale clips larger values, so the vectors are less accurate than a bundle promises.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from embedge_export.graph.builder import CONTRIB
from embedge_export.graph.linear import inputs_of

Ids = NDArray[np.int64]
_PRODUCT = "MatMulIntegerToFloat"
_MIDDLE = 128  # the default zero point of MatMulNBits at 8 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A linear layer of an int8 graph.

    Attributes:
        name: the name of its weight in the checkpoint, or of its packed weights.
        rows: the name of its input, float32 [batch, tokens, inputs].
        scale: the name of the scales of its rows, float32 [batch, tokens, 1].
        zero_point: the name of the constant zero point of its rows.
        codes: the int8 weight, [inputs, outputs].
        scales: the scales of the weight, float32 [outputs].
        bias: the bias, float32 [outputs]; zeros where the layer has none.
        output: the name of its output, which other nodes read, or which is split.
        parts: for a split layer, the names of the parts without the bias, each with the name of the part with it.
        replaced: the names of the nodes that multiply and add the bias.
    """

    name: str
    rows: str
    scale: str
    zero_point: str
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32]
    output: str
    parts: Mapping[str, str]
    replaced: frozenset[str]


def find_layers(model: ModelProto) -> list[Layer]:
    """The linear layers, in order, whose rows each have their own scale, in a graph that ``quantise`` returns."""
    makers = {output: node for node in model.graph.node for output in node.output}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [(node, makers[node.input[0]]) for node in model.graph.node if node.op_type == _PRODUCT]
    return [_layer(*pair, readers, constants) for pair in products if pair[1].input[1] not in constants]


def _layer(
    product: NodeProto,
    quantise: NodeProto,
    readers: Mapping[str, Sequence[NodeProto]],
    constants: Mapping[str, TensorProto],
) -> Layer:
    (times_scale,) = readers[product.output[0]]
    (after,) = readers[times_scale.output[0]]
    ends = after.output if after.op_type == "Split" else times_scale.output
    adds = {
        end: add for end in ends for add in readers.get(end, ()) if add.op_type == "Add" and add.input[1] in constants
    }
    codes, scales = (numpy_helper.to_array(constants[product.input[place]]) for place in (1, 3))
    none = np.zeros(codes.shape[1] // len(ends), np.float32)
    parts = [numpy_helper.to_array(constants[adds[end].input[1]]) if end in adds else none for end in ends]
    split = after.op_type == "Split"
    return Layer(
        name=times_scale.name,
        rows=quantise.input[0],
        scale=quantise.input[1],
        zero_point=product.input[4],
        codes=codes,
        scales=scales,
        bias=np.concatenate(parts),
        output=times_scale.output[0] if split else adds[ends[0]].output[0],
        parts={end: add.output[0] for end, add in adds.items()} if split else {},
        replaced=frozenset({product.name, times_scale.name, *(add.name for add in adds.values())}),
    )


def highest_scales(model: ModelProto, texts: Iterable[Ids]) -> dict[str, np.float32]:
    """The largest scale that any row of some texts has, by layer.

    Args:
        model: a graph that ``quantise`` returns.
        texts: token ids, [batch, tokens], without padding.
    """
    layers, copy = find_layers(model), deepcopy(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(layer.scale, TensorProto.FLOAT, None) for layer in layers)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    runs = [session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)}) for ids in texts]
    highest = zip(*([scales.max() for scales in run] for run in runs), strict=True)
    return {layer.name: max(scales) for layer, scales in zip(layers, highest, strict=True)}


def static(model: ModelProto, scales: Mapping[str, np.float32]) -> ModelProto:
    """Apply rule 1 to the layers that ``scales`` names.

    The zero points of the other layers still use the shape of the first layer's scales.

    Args:
        model: a graph that ``quantise`` returns; it is not changed.
        scales: the constant scale of each layer, by its name.
    """

    def nodes(layer: Layer) -> Iterator[NodeProto | TensorProto]:
        at, scale = f"{layer.name}.static", scales[layer.name]
        one, scales_of_both = np.float32(1), scale * layer.scales
        yield from _constants(at, scale=scale, one=one, codes=layer.codes, scales=scales_of_both, bias=layer.bias)
        yield helper.make_node("QuantizeLinear", [layer.rows, f"{at}.scale", layer.zero_point], [at], name=f"{at}.rows")
        inputs = [at, f"{at}.codes", f"{at}.one", f"{at}.scales", layer.zero_point, "", f"{at}.bias"]
        yield helper.make_node(_PRODUCT, inputs, [layer.output], name=layer.name, domain=CONTRIB)

    return _replace(model, [layer for layer in find_layers(model) if layer.name in scales], nodes)


def in_blocks(model: ModelProto, size: int) -> ModelProto:
    """Apply rule 2 to the layers whose rows each have their own scale.

    Args:
        model: a graph that ``quantise`` returns; it is not changed.
        size: the number of inputs in a block, which share a scale: a power of two, at least 16.
    """

    def nodes(layer: Layer) -> Iterator[NodeProto | TensorProto]:
        at, (inputs, outputs) = f"{layer.name}.blocks", layer.codes.shape
        blocks = -(-inputs // size)
        padded = np.pad(layer.codes, ((0, blocks * size - inputs), (0, 0))).T.astype(np.int16) + _MIDDLE
        codes = padded.astype(np.uint8).reshape(outputs, blocks, size)
        column_scales = np.repeat(layer.scales[:, None], blocks, axis=1)
        yield from _constants(at, codes=codes, scales=column_scales, bias=layer.bias)
        names = [layer.rows, f"{at}.codes", f"{at}.scales", "", "", f"{at}.bias"]
        sizes: dict[str, Any] = {"K": inputs, "N": outputs, "bits": 8, "block_size": size}
        # Level 4 quantises the rows to int8, too.
        yield helper.make_node(
            "MatMulNBits", names, [layer.output], name=layer.name, domain=CONTRIB, accuracy_level=4, **sizes
        )

    return _replace(model, find_layers(model), nodes)


def _constants(at: str, **values: NDArray[np.generic] | np.generic) -> Iterator[TensorProto]:
    return (numpy_helper.from_array(np.asarray(value), f"{at}.{name}") for name, value in values.items())


def _replace(
    model: ModelProto, layers: Sequence[Layer], make: Callable[[Layer], Iterator[NodeProto | TensorProto]]
) -> ModelProto:
    copy = deepcopy(model)
    graph, products = copy.graph, {f"{layer.name}.product": layer for layer in layers}
    replaced = frozenset().union(*(layer.replaced for layer in layers))
    parts = {end: part for layer in layers for end, part in layer.parts.items()}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.name in products:
            for made in make(products[node.name]):
                (nodes if isinstance(made, NodeProto) else graph.initializer).append(made)
        elif node.name not in replaced:
            node.output[:] = [parts.get(name, name) for name in node.output]
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unread(graph)
    return copy


def _drop_unread(graph: GraphProto) -> None:
    read = {output.name for output in graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):
        if not read.isdisjoint(node.output):
            read.update(inputs_of(node))
            nodes.insert(0, node)
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
