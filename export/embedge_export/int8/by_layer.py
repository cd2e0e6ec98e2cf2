"""Make the int8 graph layer by layer, so that the memory is that of one layer, not of the model.

The calibration texts go through the float32 layers one after the other. When they have gone through a layer, the layer
is smoothed, pruned if it is the last one of a model with CLS pooling, and quantised. Then its float32 weights and its
statistics are dropped, and its int8 form is saved. If the export is stopped, the next one takes the saved layers: the
texts only go through their float32 form again, which takes a fifth of the time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from onnx import NodeProto

from embedge.progress import log_step
from embedge_export.graph.piece import Piece
from embedge_export.graph.prune import prune_piece, with_split_layers
from embedge_export.int8.quantise import quantise_piece
from embedge_export.int8.saved_pieces import SavedPieces
from embedge_export.int8.smooth import smooth
from embedge_export.int8.text_states import TextStates
from embedge_export.steps import count_layers


def quantise_by_layer(
    pieces: Iterable[Piece], states: TextStates, saved: SavedPieces, *, layers: int, first_token: bool
) -> Iterator[Piece]:
    """Yield the int8 pieces of a float32 graph.

    Args:
        pieces: the float32 pieces, from ``build_pieces``.
        states: the calibration texts.
        saved: the int8 pieces of an export that was stopped, if there are any; each new one is added.
        layers: the number of the encoder's layers.
        first_token: whether to prune the graph to the first token; see ``prune``.
    """
    known, total = saved.count, layers + 2  # the embeddings and the heads are pieces, too
    if known:
        log_step(
            f"{'resume':<11}after layer {min(known - 1, layers)} of {layers}, which an export that was stopped made"
        )
    if known == total:
        yield from map(saved.load, range(total))
        return
    done: list[NodeProto] = []
    with count_layers(total) as advance:
        for number, piece in enumerate(pieces):
            if number < known:
                states.advance(piece, record=False)
                int8 = saved.load(number)
            else:
                int8 = _quantise(piece, states, done, first_token=first_token)
                saved.save(number, int8)
            done += _copies(int8.model.graph.node)
            advance()
            yield int8


def _quantise(piece: Piece, states: TextStates, before: Sequence[NodeProto], *, first_token: bool) -> Piece:
    """Return the int8 form of a float32 piece."""
    activations = states.advance(piece)
    model, activations = smooth(piece.model, activations)
    smoothed = replace(piece, model=model)
    if first_token:
        smoothed, activations = prune_piece(smoothed), with_split_layers(activations)
    return quantise_piece(smoothed, activations, before=before)


def _copies(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Return copies of nodes. A node that is part of a model keeps the memory of the whole model, weights included."""
    copies = [NodeProto() for _ in nodes]
    for copy, node in zip(copies, nodes, strict=True):
        copy.CopyFrom(node)
    return copies
