"""A checkpoint's tensors, out of safetensors or torch's own files, as float32."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge_export.checkpoint import Checkpoint
from embedge_export.extra import require_export_extra
from embedge_export.pickled import PickledTensors


class Tensors:
    """The tensors of a checkpoint, read one at a time: a context manager over its open files.

    Args:
        checkpoint: whose tensors.
        files: that hold them; None is its weights.
        prefixes: what may stand in front of a tensor's name, such as ``bert.`` where a head was trained on top.
        put_in_front: of the names in the files, which are those of one layer alone.

    Raises:
        CheckpointError: a file is cut short, or holds something else.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        files: tuple[Path, ...] | None = None,
        prefixes: tuple[str, ...] = ("", "bert.", "roberta."),
        put_in_front: str = "",
    ) -> None:
        require_export_extra()
        self._checkpoint = checkpoint
        self._prefixes = prefixes
        self._files = [_open(path) for path in (checkpoint.weights if files is None else files)]
        self._put_in_front = put_in_front
        self._home: Mapping[str, Any] = {
            put_in_front + name: file
            for file in self._files
            for name in file.keys()  # noqa: SIM118
        }

    def __enter__(self) -> Self:
        for file in self._files:
            file.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.__exit__(kind, error, trace)

    def get(self, name: str, *shape: int) -> NDArray[np.float32]:
        """The tensor of that name, float32, of that shape.

        Raises:
            CheckpointError: it is missing, has another shape, or holds a value that is not finite.
        """
        # TensorFlow's names for a layer normalisation's gain and bias live on in old checkpoints.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        full = next((p + n for n in (name, old) for p in self._prefixes if p + n in self._home), None)
        where = self._checkpoint.directory
        if full is None:
            raise CheckpointError(f"{where} has no tensor {name}; its config.json describes another model")
        try:
            tensor = np.asarray(self._home[full].get_tensor(full.removeprefix(self._put_in_front))).astype(np.float32)
        except (AttributeError, TypeError, ValueError) as error:  # a type that numpy lacks, such as float8
            raise CheckpointError(f"{where}: tensor {name} cannot be read ({error}); save it as float32") from error
        if tensor.shape != shape:
            raise CheckpointError(f"{where}: tensor {name} is {list(tensor.shape)}, config.json says {list(shape)}")
        if not np.isfinite(tensor).all():
            raise CheckpointError(
                f"{where}: tensor {name} holds NaN or infinity; the training diverged, use an earlier save"
            )
        return tensor


def _open(path: Path) -> Any:
    import ml_dtypes  # noqa: F401  # teaches numpy bfloat16
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return PickledTensors(path)
    try:
        return safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); get the checkpoint again") from error
