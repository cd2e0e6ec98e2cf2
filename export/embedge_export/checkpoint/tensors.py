"""Reads a checkpoint's tensors one at a time, and checks that none is left over."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.table import Table
from embedge_export.checkpoint.tensor_files import open_tensors, read_float32
from embedge_export.checkpoint.tensor_names import is_unread, plain_names
from embedge_export.extras import require_export_extra


class Tensors:
    """The tensors of a checkpoint, read one at a time; a context manager over the open files.

    The block must read every tensor, except those that ``tensor_names.is_unread`` names. If it leaves one out,
    ``config.json`` describes a smaller model than the one that was trained, and the end of the block raises
    CheckpointError.

    Args:
        checkpoint: the checkpoint to read. Its tensors have the names of the encoder alone, without wrappers.
        layer: a file with a single layer, to read instead of the checkpoint's weights. Every tensor in it must be read.
        prefix: text to put in front of that layer's names.
        has_data: whether to read the tensors; without, only their names and shapes are checked.

    Raises:
        CheckpointError: a file is incomplete, or holds something other than tensors.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, layer: Path | None = None, prefix: str = "", has_data: bool = True
    ) -> None:
        require_export_extra()
        self._has_data = has_data
        self._checkpoint, self._layer = checkpoint, layer
        self._where = layer or checkpoint.directory
        self._read: set[str] = set()
        with ExitStack() as stack:  # if one file cannot be opened, this closes the others
            self._files = open_tensors(checkpoint.weights if layer is None else (layer,), stack)
            if layer is None:
                self._names = plain_names(self._files, checkpoint.directory)
            else:
                self._names = {prefix + name: name for name in self._files}
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            check_all_read(self._names.keys() - self._read, self._checkpoint, layer=self._layer)

    def get(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Return the tensor with this name, float32, after a check of its shape; zeros if the data is not read.

        Raises:
            CheckpointError: it is missing, has another shape or type, or holds a value that is not finite.
        """
        known = self._find(name, shape)
        return self._read_finite(name, known) if self._has_data else np.broadcast_to(np.float32(0), shape)

    def table(self, name: str, rows: int, columns: int) -> Table:
        """Return the tensor with this name as a table, float32, after a check of its shape.

        Raises:
            CheckpointError: as ``get``; reading the table raises it, too.
        """
        known = self._find(name, (rows, columns))
        return Table(
            shape=(rows, columns),
            dtype=np.dtype(np.float32),
            read=lambda start, end: self._read_finite(name, known, (start, end)),
        )

    def _find(self, name: str, shape: tuple[int, ...]) -> str:
        """Return the name that the checkpoint has for a tensor, after a check of the tensor's shape."""
        # Old checkpoints have TensorFlow's names for the gain and bias of a layer normalisation.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        known = next((known for known in (name, old) if known in self._names), None)
        if known is None:
            raise CheckpointError(f"{self._where} has no tensor {name}; {self._explain_missing(name)}")
        found = self._files[self._names[known]].shape(self._names[known])
        if found != shape:
            raise CheckpointError(
                f"{self._where}: tensor {name} is {list(found)}, config.json says {list(shape)}; get the "
                "config.json that the model was trained with"
            )
        self._read.add(known)
        return known

    def _read_finite(self, name: str, known: str, rows: tuple[int, int] | None = None) -> NDArray[np.float32]:
        tensor = read_float32(self._files, self._names[known], self._where, rows)
        if not np.isfinite(tensor).all():
            raise CheckpointError(
                f"{self._where}: tensor {name} holds NaN or infinity, so the training diverged; use an earlier save"
            )
        return tensor

    def _explain_missing(self, name: str) -> str:
        misplaced = next((full for full in self._names.values() if full.endswith(f".{name}")), None)
        if misplaced is None:
            return "its config.json describes another model"
        return f"{misplaced} has another prefix than the other tensors; save the model again, by its save_pretrained"


def check_all_read(unread: set[str], checkpoint: Checkpoint, *, layer: Path | None = None) -> None:
    """Raise CheckpointError if a tensor was not read that a model of the checkpoint's kind would read.

    Args:
        unread: plain names of the tensors that were not read.
        checkpoint: the checkpoint that they belong to.
        layer: the file that they are in, if it is not the checkpoint's weights.
    """
    rest = sorted(name for name in unread if layer is not None or not is_unread(name, checkpoint.task))
    if not rest:
        return
    shown = ", ".join(rest[:3]) + (", ..." if len(rest) > 3 else "")
    if layer is not None:
        raise CheckpointError(
            f"{layer} holds {shown} beside its layer's weight and bias; download or copy the checkpoint again"
        )
    layers = checkpoint.config.get("num_hidden_layers", checkpoint.config.get("n_layers"))
    raise CheckpointError(
        f"{checkpoint.directory} holds {len(rest)} tensors that its config.json ({checkpoint.architecture}, "
        f"num_hidden_layers {layers}) has no place for: {shown}; get the config.json that the model was trained with, "
        "or save the encoder alone, by its save_pretrained"
    )
