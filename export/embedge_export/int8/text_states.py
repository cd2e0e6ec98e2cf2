"""The calibration texts on their way through a graph, piece by piece."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from embedge.errors import CheckpointError
from embedge.inference.plan import plan_batches
from embedge_export.checkpoint.table import Table
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.graph.linear import inputs_of, linear_layers
from embedge_export.graph.piece import Piece
from embedge_export.graph.write import write_pieces
from embedge_export.int8.moments import Activations, Moments

# How many rows are recorded as they are; of the others, only the sums and the range. The largest values of a larger
# sample would come from ever rarer tokens.
_SAMPLE_ROWS = 2048
_BATCH_TOKENS = 512
_IN_MEMORY = 1 << 28  # bytes of hidden states; more are in a file that is mapped
_TYPES = {
    "input_ids": TensorProto.INT64,
    "attention_mask": TensorProto.INT64,
    "mask": TensorProto.INT32,
    "no_padding": TensorProto.BOOL,
}

Ids = Sequence[NDArray[np.integer[Any]]]
Feed = dict[str, NDArray[Any]]


class TextStates:
    """Token ids of texts at first, and after each piece the hidden states that enter the next one.

    Args:
        ids: the token ids of each text.
        range_ids: those of more texts, which count for the range of each channel alone.
        scratch: a folder for temporary files, which may be as large as the hidden states; None is the system's.
    """

    def __init__(self, ids: Ids, range_ids: Ids = (), *, scratch: Path | None = None) -> None:
        self._scratch = scratch
        self._batches = [*_batches(ids, is_range=False), *_batches(range_ids, is_range=True)]
        self._stride = max(1, sum(map(len, ids)) // _SAMPLE_ROWS)
        ends = np.cumsum([0, *(batch.ids.size for batch in self._batches)]).tolist()
        self._places = [slice(*pair) for pair in pairwise(ends)]
        self._hidden: NDArray[np.float32] | None = None
        self._hidden_name = ""

    def advance(self, piece: Piece, *, record: bool = True) -> Mapping[str, Activations]:
        """Run the next piece; return the activations of each of its linear layers by name, or none.

        Args:
            piece: a whole graph, or the first piece of one; afterwards the piece that follows.
            record: whether to record activations.

        Raises:
            CheckpointError: an activation overflows, or the graph fails on a text.
        """
        inputs = {node.name: node.input[0] for node in linear_layers(piece.model)} if record else {}
        outputs = list(dict.fromkeys([*inputs.values(), *filter(None, [piece.hidden])]))
        moments = {name: Moments(self._stride) for name in inputs}
        if outputs:
            self._run(piece, outputs, inputs, moments)
        activations = {name: layer.activations() for name, layer in moments.items()}
        for name, layer in activations.items():
            if not np.isfinite(layer.covariance).all():
                raise CheckpointError(
                    f"{name}: its input overflows float32 on the calibration texts, so int8 cannot be calibrated; "
                    "get the checkpoint again"
                )
        return activations

    def _run(self, piece: Piece, outputs: list[str], inputs: Mapping[str, str], moments: Mapping[str, Moments]) -> None:
        words = self._words(piece)
        with _session(piece, outputs, self._scratch) as session:
            for batch, place in zip(self._batches, self._places, strict=True):
                feed = self._feed(batch, place)
                feed |= {name: rows[numbers[place]].reshape(*batch.ids.shape, -1) for name, (rows, numbers) in words}
                values = dict(zip(outputs, session.run(outputs, feed), strict=True))
                for name, tensor in inputs.items():
                    rows = values[tensor].reshape(-1, values[tensor].shape[-1])
                    (moments[name].extend_range if batch.is_range else moments[name].add)(rows)
                if piece.hidden:
                    self._keep(values[piece.hidden], place)
        self._hidden_name = piece.hidden

    def _feed(self, batch: "_TextBatch", place: slice) -> Feed:
        ones = np.ones(batch.ids.shape, np.int64)
        feed: Feed = {"input_ids": batch.ids, "attention_mask": ones}
        if self._hidden_name and self._hidden is not None:
            feed |= {"mask": ones.astype(np.int32), "no_padding": np.array(True)}
            feed[self._hidden_name] = self._hidden[place].reshape(*batch.ids.shape, -1)
        return feed

    def _keep(self, values: NDArray[np.float32], place: slice) -> None:
        """Keep the hidden states of a batch, in place of those that entered the piece."""
        if self._hidden is None:
            self._hidden = _new_array((self._places[-1].stop, values.shape[-1]), self._scratch)
        self._hidden[place] = values.reshape(-1, values.shape[-1])

    def _words(self, piece: Piece) -> list[tuple[str, tuple[NDArray[np.float32], NDArray[np.intp]]]]:
        """Return by tensor name what the piece reads from its tables: the rows of all texts, and each token's."""
        ids = np.concatenate([batch.ids.ravel() for batch in self._batches]) if piece.tables else np.empty(0, np.int64)
        used, numbers = np.unique(ids, return_inverse=True)
        return [(name, (table.rows(used), numbers)) for name, table in _gathered(piece).items()]


@dataclass(frozen=True, slots=True)
class _TextBatch:
    """The ids of some texts of one length, int64 [texts, tokens]. So nothing is padded."""

    ids: NDArray[np.int64]
    is_range: bool


def _batches(ids: Ids, *, is_range: bool) -> Iterator[_TextBatch]:
    for batch in plan_batches([len(text) for text in ids], batch_tokens=_BATCH_TOKENS):
        yield _TextBatch(np.array([ids[member] for member in batch.members], np.int64), is_range)


def _gathered(piece: Piece) -> dict[str, Table]:
    """Return the table of each tensor that a ``Gather`` reads from one, by the tensor's name."""
    nodes = [node for node in piece.model.graph.node if node.op_type == "Gather" and node.input[0] in piece.tables]
    return {node.output[0]: piece.tables[node.input[0]] for node in nodes}


def _new_array(shape: tuple[int, int], scratch: Path | None) -> NDArray[np.float32]:
    if shape[0] * shape[1] * 4 <= _IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(dir=scratch) as file:  # the mapping stays when the file is closed
        # Zeros are written: if the disk is full, this raises. A hole that is filled later would kill the process.
        row = bytes(shape[1] * 4)
        for _ in range(shape[0]):
            file.write(row)
        file.flush()
        return np.memmap(file, np.float32, "r+", shape=shape)


@contextmanager
def _session(piece: Piece, outputs: Sequence[str], scratch: Path | None) -> Iterator[CpuSession]:
    """Open a piece with some of its tensors as outputs, not optimised.

    It is opened from a file, because protobuf cannot pass more than 2 GB.
    """
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "calibrate.onnx"
        write_pieces([Piece(model=_probe(piece, outputs))], path)
        yield CpuSession(path, optimise=False)


def _probe(piece: Piece, outputs: Sequence[str]) -> ModelProto:
    """Return a piece as a model of its own: what it reads and does not compute is an input; the tables are left out."""
    gathered = _gathered(piece)
    nodes = [node for node in piece.model.graph.node if gathered.keys().isdisjoint(node.output)]
    constants = [tensor for tensor in piece.model.graph.initializer if tensor.name not in piece.tables]
    known = {"", *(name for node in nodes for name in node.output), *(tensor.name for tensor in constants)}
    read = dict.fromkeys(name for node in nodes for name in inputs_of(node) if name not in known)
    inputs = [helper.make_tensor_value_info(name, _TYPES.get(name, TensorProto.FLOAT), None) for name in read]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "calibrate", inputs, results, constants)
    return helper.make_model(
        graph, opset_imports=piece.model.opset_import, ir_version=piece.model.ir_version, producer_name="embedge"
    )
