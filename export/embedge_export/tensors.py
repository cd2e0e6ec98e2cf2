"""A checkpoint's tensors, out of safetensors, as float32."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge_export.checkpoint import Checkpoint
from embedge_export.extra import require_export_extra


class Tensors:
    """The tensors of a checkpoint, read one at a time: a context manager over its open files.

    Args:
        checkpoint: one whose weights are safetensors.
        prefixes: what may stand in front of a tensor's name, such as ``bert.`` where a head was trained on top.

    Raises:
        CheckpointError: the weights are a pickle, or a file is cut short.
    """

    def __init__(self, checkpoint: Checkpoint, *, prefixes: tuple[str, ...] = ("", "bert.")) -> None:
        require_export_extra()
        self._checkpoint = checkpoint
        self._prefixes = prefixes
        self._files = [_open(path) for path in checkpoint.weights]
        self._home: Mapping[str, Any] = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118

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
            tensor = np.asarray(self._home[full].get_tensor(full)).astype(np.float32)
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
        raise CheckpointError(
            f'{path} is a pickle, which can run code when it is read; convert it: `python -c "from transformers import '
            f"AutoModel as M; M.from_pretrained('{path.parent}').save_pretrained('{path.parent}')\"`, "
            f"or `embedge export {path.parent} --exporter optimum`, which reads only its tensors"
        )
    try:
        return safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); get the checkpoint again") from error
