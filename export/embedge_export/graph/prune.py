"""Prune the last layer for CLS pooling, which reads only the first token of each text.

The last layer still needs the keys and values of all tokens, but only the query of the first token, and after attention
it works on that token alone. This saves five sixths of the last layer's matrix products (7 % of a model with 12
layers), and almost all of its attention (one twelfth of the model's).

The output is [batch, 1, hidden]. Code that reads ``last_hidden_state[:, 0]`` works as before.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from embedge.bundle.manifest import HIDDEN
from embedge_export.graph.linear import linear_layers
from embedge_export.graph.piece import Piece, whole

Value = TypeVar("Value")
# The end of the name of a tensor that holds the first token only.
FIRST_TOKEN = ".first_token"


def prune_to_first_token(model: ModelProto) -> ModelProto:
    """Return the pruned graph of a float32 graph; ``model`` is not changed.

    Args:
        model: a graph from ``build_graph``, smoothed or not.
    """
    return prune_piece(whole(model)).model


def prune_piece(piece: Piece) -> Piece:
    """Return a piece of the pruned graph: the last layer is pruned, and the last piece has another shape of output.

    Args:
        piece: from ``build_pieces``, smoothed or not; it is not changed. Other pieces are returned as they are.
    """
    if not piece.is_last_layer and piece.hidden:
        return piece
    copy = piece.copy()
    if piece.is_last_layer:
        _prune_layer(copy.model)
    for output in copy.model.graph.output:
        if output.name == HIDDEN:
            output.type.tensor_type.shape.dim[1].dim_value = 1
    return copy


def _prune_layer(model: ModelProto) -> None:
    """Change the last layer of a graph, so that only keys and values are computed of all tokens."""
    nodes = list(model.graph.node)
    packed = next(node for node in reversed(linear_layers(model)) if node.name.endswith(".qkv"))
    split = next(node for node in nodes if node.op_type == "Split" and node.input[0] == packed.output[0])
    hidden, first = packed.input[0], packed.input[0] + FIRST_TOKEN
    pruned: list[NodeProto] = []
    for node in nodes:
        if node.name == packed.name:
            pruned += [*_first_token(model, hidden, first), *_query_and_rest(model, packed, split, first)]
        elif node.name != split.name:
            if hidden in node.input:  # the residual path: no other node reads the layer's input
                node.input[list(node.input).index(hidden)] = first
            pruned.append(node)
    del model.graph.node[:]
    model.graph.node.extend(pruned)


def with_split_layers(by_layer: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return a table by layer name, with entries for the two layers into which pruning splits a packed one.

    Both get the value of the packed layer, because they have the same input.
    """
    parts = {part: value for name, value in by_layer.items() for part in _part_names(name)}
    return {**by_layer, **parts}


def _part_names(packed: str) -> Iterator[str]:
    if packed.endswith(".qkv"):
        yield from (packed.removesuffix("qkv") + part for part in ("q", "kv"))


def _first_token(model: ModelProto, hidden: str, first: str) -> Iterator[NodeProto]:
    names = []
    for bound in (0, 1):
        names.append(f"{first}.{bound}")
        model.graph.initializer.append(numpy_helper.from_array(np.array([bound], np.int64), names[-1]))
    start, end = names
    yield helper.make_node("Slice", [hidden, start, end, end], [first], name=first)


def _query_and_rest(model: ModelProto, packed: NodeProto, split: NodeProto, first: str) -> Iterator[NodeProto]:
    """Yield the nodes that compute Q of the first token, and K and V of all tokens."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == packed.input[1])
    weight = numpy_helper.to_array(tensor)
    model.graph.initializer.remove(tensor)
    width = weight.shape[1] // 3
    query, rest = _part_names(packed.name)
    for name, part in ((query, weight[:, :width]), (rest, weight[:, width:])):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(part), f"{name}.weight"))
    yield helper.make_node("MatMul", [first, f"{query}.weight"], split.output[:1], name=query)
    yield helper.make_node("MatMul", [packed.input[0], f"{rest}.weight"], [rest], name=rest)
    yield helper.make_node("Split", [rest], split.output[1:], name=split.name, axis=-1, num_outputs=2)
