"""A graph in pieces, so that no step of an export holds the weights of the whole model.

The first piece is the embeddings, then follows one piece for each layer, and the last piece is the heads. The graph is
cut in front of a layer normalisation, where one tensor passes from piece to piece: the hidden states before they are
normalised. So a layer's piece has the normalisation that its first linear layer reads.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from embedge_export.checkpoint.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some of a graph's nodes, in order, with the constants that they read.

    Attributes:
        model: the nodes and constants. Only the first piece has the graph's inputs, and only the last its outputs.
        hidden: the tensor that the next piece reads; empty for the last piece.
        is_last_layer: whether this is the last layer of the encoder. A whole graph in one piece is, too.
        tables: the data of large constants by name; they have no data in ``model``.
    """

    model: ModelProto
    hidden: str = ""
    is_last_layer: bool = False
    tables: Mapping[str, Table] = field(default_factory=dict)

    def copy(self) -> "Piece":
        """Return a piece with a copy of the nodes and constants."""
        model = ModelProto()
        model.CopyFrom(self.model)
        return replace(self, model=model)

    @property
    def nbytes(self) -> int:
        """The size of its constants in bytes."""
        small = sum(len(tensor.raw_data) for tensor in self.model.graph.initializer)
        return small + sum(table.nbytes for table in self.tables.values())


def whole(model: ModelProto) -> Piece:
    """Return a whole graph as one piece."""
    return Piece(model=model, is_last_layer=True)


def table_constant(name: str, table: Table) -> TensorProto:
    """Return the constant of a table: its name, type and shape, without its data."""
    return TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(table.dtype), dims=table.shape)


def join(pieces: Iterable[Piece]) -> ModelProto:
    """Return the whole graph of all pieces, with all data in memory."""
    model = ModelProto()
    names: set[str] = set()
    for piece in pieces:
        constants = [tensor for tensor in piece.model.graph.initializer if tensor.name not in names]
        names.update(tensor.name for tensor in constants)
        append(model, piece.model, [_with_data(tensor, piece.tables) for tensor in constants])
    return model


def append(model: ModelProto, piece: ModelProto, constants: Iterable[TensorProto]) -> None:
    """Add a piece's nodes, inputs and outputs to a model that has the pieces before; and these constants.

    Args:
        model: the model, which is changed; empty before the first piece.
        piece: the piece; its own constants are left out.
        constants: what to add instead of them.
    """
    if not model.graph.node:
        for name in ("ir_version", "producer_name"):
            setattr(model, name, getattr(piece, name))
        model.opset_import.extend(piece.opset_import)
        model.graph.name = piece.graph.name
    for name in ("node", "input", "output"):
        getattr(model.graph, name).extend(getattr(piece.graph, name))
    model.graph.initializer.extend(constants)


def _with_data(tensor: TensorProto, tables: Mapping[str, Table]) -> TensorProto:
    if tensor.name not in tables:
        return tensor
    return numpy_helper.from_array(np.ascontiguousarray(tables[tensor.name].whole()), tensor.name)
