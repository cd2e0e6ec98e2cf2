"""A checkpoint's tensors, out of safetensors or torch's own files, as float32."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge.inference.errstate import own_errstate
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensor_names import is_classifier, is_unread, plain_names
from embedge_export.checkpoint.torch_file import PickledTensors
from embedge_export.extras import require_export_extra

# What weights are saved in. Integers are another tool's codes, which mean nothing without its scales.
_FLOATS = ("float64", "float32", "float16", "bfloat16")
_TEXTS = (".json", ".model", ".txt")  # suffixes of configs and tokenizers


class Tensors:
    """The tensors of a checkpoint, read one at a time: a context manager over its open files.

    A block that ends well has read every tensor, but for those that ``names.is_unread`` knows; else ``config.json``
    describes a smaller model than the one that was trained, and leaving the block raises CheckpointError.

    Args:
        checkpoint: whose tensors. Names are those of its encoder alone, whatever wrapped it.
        layer: a file with one layer alone, each tensor of which is read; None is for the checkpoint's weights.
        put_in_front: of that layer's names.

    Raises:
        CheckpointError: a file is cut short, or holds something else.
    """

    def __init__(self, checkpoint: Checkpoint, *, layer: Path | None = None, put_in_front: str = "") -> None:
        require_export_extra()
        self._checkpoint, self._layer = checkpoint, layer
        self._where = layer or checkpoint.directory
        self._read: set[str] = set()
        with ExitStack() as files:  # closes those that are open where another cannot be opened
            home = _open_all(checkpoint.weights if layer is None else (layer,), files)
            if layer is None:
                self._names = plain_names(home, checkpoint.directory)
            else:
                self._names = {put_in_front + name: name for name in home}
            self._home = home
            self._files = files.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)
        if kind is None:
            check_read(self._names.keys() - self._read, self._checkpoint, layer=self._layer)

    def get(self, name: str, *shape: int) -> NDArray[np.float32]:
        """The tensor of that name, float32, of that shape.

        Raises:
            CheckpointError: it is missing, has another shape or type, or holds a value that is not finite.
        """
        # TensorFlow's names for a layer normalisation's gain and bias live on in old checkpoints.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        found = next((known for known in (name, old) if known in self._names), None)
        if found is None:
            raise CheckpointError(f"{self._where} has no tensor {name}; {self._why_none(name)}")
        tensor = _as_float32(self._home, self._names[found], self._where)
        if tensor.shape != shape:
            raise CheckpointError(
                f"{self._where}: tensor {name} is {list(tensor.shape)}, config.json says {list(shape)}"
            )
        if not np.isfinite(tensor).all():
            raise CheckpointError(
                f"{self._where}: tensor {name} holds NaN or infinity; the training diverged, use an earlier save"
            )
        self._read.add(found)
        return tensor

    def _why_none(self, name: str) -> str:
        astray = next((full for full in self._names.values() if full.endswith(f".{name}")), None)
        if astray is None:
            return "its config.json describes another model"
        return f"{astray} is elsewhere than its other tensors; save the model anew, by its save_pretrained"


def check_read(unread: set[str], checkpoint: Checkpoint, *, layer: Path | None = None) -> None:
    """Raises CheckpointError where a tensor is left over that a model of the checkpoint's kind would read.

    Args:
        unread: plain names of the tensors that nothing read.
        checkpoint: whose they are.
        layer: the file that they are in, where it is not the checkpoint's weights.
    """
    left = sorted(name for name in unread if layer is not None or not is_unread(name, checkpoint.task))
    if not left:
        return
    shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
    if layer is not None:
        raise CheckpointError(f"{layer} holds {shown} beside its layer's weight and bias; get the checkpoint again")
    layers = checkpoint.config.get("num_hidden_layers", checkpoint.config.get("n_layers"))
    raise CheckpointError(
        f"{checkpoint.directory} holds {len(left)} tensors that its config.json ({checkpoint.architecture}, "
        f"num_hidden_layers {layers}) has no place for: {shown}; get the config.json that the model was trained with, "
        "or save the encoder alone, by its save_pretrained"
    )


def tensor_names(checkpoint: Checkpoint) -> list[str]:
    """Names of the tensors in the checkpoint's weights, as they are there."""
    with ExitStack() as files:
        return list(_open_all(checkpoint.weights, files))


def write_renamed(checkpoint: Checkpoint, folder: Path, *, base: str) -> bool:
    """The checkpoint in ``folder``, float32, its tensors under the names that transformers looks for.

    Args:
        checkpoint: what to copy: tensors that a model reads, and the texts beside them.
        folder: where to.
        base: what stands in front of an encoder's tensors where a classifier is on top, such as ``roberta``.

    Returns:
        False where all have such names already; then nothing is written.

    Raises:
        CheckpointError: as ``Tensors``.
    """
    from safetensors.numpy import save_file

    with ExitStack() as files:
        home = _open_all(checkpoint.weights, files)
        names: dict[str, str] = {}
        for plain, name in plain_names(home, checkpoint.directory, encoder=base).items():
            if not is_unread(plain, checkpoint.task) or plain.startswith("pooler."):  # which BERT's classifier reads
                names[plain if checkpoint.task == "embed" or is_classifier(plain) else f"{base}.{plain}"] = name
        if all(new == name for new, name in names.items()):
            return False
        copies = {new: _as_float32(home, name, checkpoint.directory) for new, name in names.items()}
        save_file({new: np.ascontiguousarray(copy) for new, copy in copies.items()}, folder / "model.safetensors")
    for path in checkpoint.directory.iterdir():
        if path.suffix in _TEXTS and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)
    return True


def _open_all(paths: tuple[Path, ...], files: ExitStack) -> Mapping[str, Any]:
    """The open file of each tensor, by its name there."""
    home: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for path in paths:
        file = files.enter_context(_open(path))
        for name in file.keys():  # noqa: SIM118
            if name in home:
                raise CheckpointError(
                    f"{path.parent} holds {name} both in {origin[name].name} and in {path.name}; "
                    "delete the file that is out of date"
                )
            home[name], origin[name] = file, path
    return home


def _open(path: Path) -> Any:
    import ml_dtypes  # noqa: F401  # teaches numpy bfloat16
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        return PickledTensors(path)
    try:
        return safe_open(path, framework="numpy")
    except Exception as error:  # the system's, and safetensors' own
        raise CheckpointError(f"{path} cannot be read ({error}); get the checkpoint again") from error


@own_errstate  # an infinity is told by who asked
def _as_float32(home: Mapping[str, Any], name: str, where: Path) -> NDArray[np.float32]:
    """The tensor of that name in its file."""
    try:
        tensor = np.asarray(home[name].get_tensor(name))
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # safetensors' own, and numpy's about a type that it lacks, such as float8
        raise CheckpointError(f"{where}: tensor {name} cannot be read ({error}); save it as float32") from error
    if tensor.dtype.name not in _FLOATS:
        raise CheckpointError(
            f"{where}: tensor {name} holds {tensor.dtype}, not numbers as they were trained; export the model that was "
            "not quantised, or save it as float32"
        )
    return tensor.astype(np.float32)
