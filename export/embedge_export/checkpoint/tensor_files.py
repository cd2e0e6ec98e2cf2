"""Opens the files of a checkpoint's tensors, safetensors or torch's own, and reads a tensor as float32."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge.inference.errstate import own_errstate
from embedge_export.checkpoint.safetensors_file import SafeTensors
from embedge_export.checkpoint.torch_file import PickledTensors

# The types that weights are saved in. Integers are codes of a quantised model, which mean nothing without its scales.
_FLOATS = ("float64", "float32", "float16", "bfloat16")


def open_tensors(paths: Iterable[Path], stack: ExitStack) -> Mapping[str, Any]:
    """Return the open file of each tensor, by the tensor's name in that file; ``stack`` closes the files.

    Raises:
        CheckpointError: a file cannot be read, or two files have a tensor of the same name.
    """
    files: dict[str, Any] = {}
    origin: dict[str, Path] = {}
    for path in paths:
        file = stack.enter_context(_open(path))
        for name in file.keys():  # noqa: SIM118
            if name in files:
                raise CheckpointError(
                    f"{path.parent} holds {name} both in {origin[name].name} and in {path.name}; "
                    "delete the file that is out of date"
                )
            files[name], origin[name] = file, path
    return files


def tensor_names(paths: Iterable[Path]) -> list[str]:
    """Return the names of the tensors in these files, unchanged."""
    with ExitStack() as stack:
        return list(open_tensors(paths, stack))


def _open(path: Path) -> Any:
    import ml_dtypes  # noqa: F401  # registers bfloat16 with numpy

    if path.suffix != ".safetensors":
        return PickledTensors(path)
    try:
        return SafeTensors(path)
    except Exception as error:  # the system's, and safetensors' own
        raise CheckpointError(f"{path} cannot be read ({error}); download or copy the checkpoint again") from error


@own_errstate  # a float64 that overflows float32 must not warn: the caller checks for infinity
def read_float32(
    files: Mapping[str, Any], name: str, where: Path, rows: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Return the tensor with this name in its file, or some of its rows.

    Args:
        files: the open file of each tensor.
        name: the tensor's name.
        where: the checkpoint's path, for messages.
        rows: the first row, and the row after the last; None returns the whole tensor.

    Raises:
        CheckpointError: it cannot be read, or its type is not a float type.
    """
    try:
        file = files[name]
        tensor = np.asarray(file.get_tensor(name) if rows is None else file.get_rows(name, *rows))
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # safetensors' own, and numpy's for a type that it lacks, such as float8
        raise CheckpointError(f"{where}: tensor {name} cannot be read ({error}); save it as float32") from error
    if tensor.dtype.name not in _FLOATS:
        raise CheckpointError(
            f"{where}: tensor {name} holds {tensor.dtype}, which is the type of a quantised model; export the model "
            "before quantisation, or save it as float32"
        )
    return tensor.astype(np.float32, copy=False)
