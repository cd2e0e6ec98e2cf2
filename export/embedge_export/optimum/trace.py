"""Trace the float32 graph of a checkpoint with optimum, Hugging Face's exporter."""

import tempfile
from pathlib import Path

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.errors import reason_of
from embedge_export.extras import require_optimum_extra
from embedge_export.optimum.load import known_to_transformers, quiet

_TASKS = {"embed": "feature-extraction", "rerank": "text-classification"}  # by optimum's names


def trace(checkpoint: Checkpoint, folder: Path) -> Path:
    """Trace a checkpoint into ``folder``, if that has no trace yet; return the path of the graph.

    transformers reads pickled weights with ``torch.load(weights_only=True)``, which runs no code from the file. If it
    does not know the names of the tensors, it gets a copy of the checkpoint with the names that it knows.

    Raises:
        MissingExtraError: the optimum extra is not installed.
        CheckpointError: optimum cannot export the checkpoint, a tensor is missing, or a tensor is not used.
    """
    require_optimum_extra()
    if (folder / "model.onnx").is_file():
        return folder / "model.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    with quiet(), tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
        from optimum.exporters.onnx import main_export

        try:
            main_export(
                str(known_to_transformers(checkpoint, Path(scratch))),
                output=folder,
                task=_TASKS[checkpoint.task],
                library_name="transformers",
                framework="pt",
                do_validation=False,
                local_files_only=True,
            )
        except CheckpointError:
            raise
        except Exception as error:  # torch, transformers and optimum raise errors of many types
            raise CheckpointError(
                f"optimum cannot export {checkpoint.directory} ({type(error).__name__}: {reason_of(error)}); get the "
                "checkpoint again, or choose another"
            ) from error
    return folder / "model.onnx"
