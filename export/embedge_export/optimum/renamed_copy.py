"""Copies a checkpoint with the tensor names that transformers expects, for the optimum exporter."""

import shutil
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensor_files import open_tensors, read_float32
from embedge_export.checkpoint.tensor_names import is_classifier, is_unread, plain_names

_TEXT_SUFFIXES = (".json", ".model", ".txt")  # of configs and tokenizers


def write_renamed(checkpoint: Checkpoint, folder: Path, *, base: str) -> bool:
    """Copy a checkpoint as float32, with its tensors under the names that transformers expects.

    The copy has the tensors that a model reads, and the text files beside them.

    Args:
        checkpoint: the checkpoint to copy.
        folder: the folder for the copy.
        base: attribute of the encoder in a model with a classifier, such as ``roberta``.

    Returns:
        False if all tensors have such names already; then nothing is written.

    Raises:
        CheckpointError: as ``Tensors``.
    """
    from safetensors.numpy import save_file

    with ExitStack() as stack:
        files = open_tensors(checkpoint.weights, stack)
        names = _names_for_transformers(files, checkpoint, base)
        if all(new == name for new, name in names.items()):
            return False
        copies = {new: read_float32(files, name, checkpoint.directory) for new, name in names.items()}
        save_file({new: np.ascontiguousarray(copy) for new, copy in copies.items()}, folder / "model.safetensors")
    for path in checkpoint.directory.iterdir():
        if path.suffix in _TEXT_SUFFIXES and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)
    return True


def _names_for_transformers(in_files: Collection[str], checkpoint: Checkpoint, base: str) -> dict[str, str]:
    """Return the names in the files by the names that transformers expects, for the tensors that a model reads."""
    names: dict[str, str] = {}
    for plain, name in plain_names(in_files, checkpoint.directory, encoder=base).items():
        if is_unread(plain, checkpoint.task) and not plain.startswith("pooler."):  # BERT's classifier reads the pooler
            continue
        in_encoder = checkpoint.task == "rerank" and not is_classifier(plain)
        names[f"{base}.{plain}" if in_encoder else plain] = name
    return names
