"""Make the int8 graph layer by layer, so that the memory is that of one layer, not of the model.

The calibration texts go through the float32 layers one after the other. When they have gone through a layer, the layer
is smoothed, pruned if it is the last one of a model with CLS pooling, and quantised. Then its float32 weights and its
statistics are dropped.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from onnx import NodeProto

from embedge_export.graph.piece import Piece
from embedge_export.graph.prune import prune_piece, with_split_layers
from embedge_export.int8.quantise import quantise_piece
from embedge_export.int8.smooth import smooth
from embedge_export.int8.text_states import TextStates


def quantise_by_layer(pieces: Iterable[Piece], states: TextStates, *, first_token: bool) -> Iterator[Piece]:
    """Yield the int8 pieces of a float32 graph.

    Args:
        pieces: the float32 pieces, from ``build_pieces``.
        states: the calibration texts.
        first_token: whether to prune the graph to the first token; see ``prune``.
    """
    done: list[NodeProto] = []
    for piece in pieces:
        activations = states.advance(piece)
        model, activations = smooth(piece.model, activations)
        smoothed = replace(piece, model=model)
        if first_token:
            smoothed, activations = prune_piece(smoothed), with_split_layers(activations)
        int8 = quantise_piece(smoothed, activations, before=done)
        done += _copies(int8.model.graph.node)
        yield int8


def _copies(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Return copies of nodes. A node that is part of a model keeps the memory of the whole model, weights included."""
    copies = [NodeProto() for _ in nodes]
    for copy, node in zip(copies, nodes, strict=True):
        copy.CopyFrom(node)
    return copies
