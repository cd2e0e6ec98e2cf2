"""The two references that verify has for a checkpoint."""

from pathlib import Path

from embedge_export.checkpoint.read import Checkpoint
from embedge_export.verify.numpy_reference import NumpyReference
from embedge_export.verify.reference import Computes
from embedge_export.verify.transformers_reference import TransformersReference


def references(checkpoint: Checkpoint, scratch: Path) -> tuple[Computes, Computes]:
    """The reference by transformers, and the one by numpy."""
    pad_id = int(checkpoint.config.get("pad_token_id", 0))
    return TransformersReference(checkpoint, pad_id=pad_id, scratch=scratch), NumpyReference(checkpoint)
