"""Load a checkpoint with transformers, and check that it uses every tensor and misses none."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensor_files import tensor_names
from embedge_export.checkpoint.tensors import check_all_read
from embedge_export.errors import reason_of
from embedge_export.extras import require_optimum_extra
from embedge_export.optimum.renamed_copy import write_renamed


def load_model(checkpoint: Checkpoint, scratch: Path) -> Any:
    """Return the model of a checkpoint, float32, in the state for inference.

    Args:
        checkpoint: the checkpoint.
        scratch: a folder for a copy of the weights, if transformers does not know the tensors' names.

    Raises:
        MissingExtraError: the optimum extra is not installed.
        CheckpointError: transformers cannot load it, a tensor is missing, or a tensor is not used.
    """
    require_optimum_extra()
    with quiet():
        try:
            model, _ = _load(checkpoint, scratch)
        except CheckpointError:
            raise
        except Exception as error:  # torch and transformers raise errors of many types
            raise CheckpointError(
                f"transformers cannot load {checkpoint.directory} ({type(error).__name__}: {reason_of(error)}); get "
                "the checkpoint again, or choose another"
            ) from error
    return model.float().eval()


def known_to_transformers(checkpoint: Checkpoint, scratch: Path) -> Path:
    """Return the checkpoint's directory, or a copy in ``scratch`` if transformers does not know the tensors' names.

    Raises:
        CheckpointError: a tensor is missing or not used, in the directory and in the copy.
    """
    return _load(checkpoint, scratch)[1]


def _load(checkpoint: Checkpoint, scratch: Path) -> tuple[Any, Path]:
    """Return the model, and the folder from which transformers loads it."""
    try:
        return _load_complete(checkpoint, checkpoint.directory), checkpoint.directory
    except Exception:  # one of embedge or of transformers
        if not _write_renamed(checkpoint, scratch):
            raise
    return _load_complete(checkpoint, scratch), scratch


def _write_renamed(checkpoint: Checkpoint, scratch: Path) -> bool:
    """Write a copy without the wrappers' prefixes of the tensor names; return whether there were any."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    kind = MODEL_MAPPING[type(AutoConfig.from_pretrained(checkpoint.directory, local_files_only=True))]
    try:
        return write_renamed(checkpoint, scratch, base=kind.base_model_prefix)
    except CheckpointError:  # the error that transformers raised before says more
        return False


def _load_complete(checkpoint: Checkpoint, folder: Path) -> Any:
    """Load a model; check that transformers finds every tensor that it needs, and uses every tensor.

    It fills a tensor that it does not find with random numbers, and only warns.

    Raises:
        CheckpointError: a tensor is missing, has the wrong shape, or is not used.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if checkpoint.task == "rerank" else AutoModel
    model, loading = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if missing or loading["mismatched_keys"]:
        first = [*missing, *map(str, loading["mismatched_keys"])][0]
        raise CheckpointError(f"{checkpoint.directory} has no tensor {first}; its config.json describes another model")
    base = f"{model.base_model_prefix}."
    left = {
        *loading["unexpected_keys"],
        *(_tensors_outside(checkpoint, base) if folder == checkpoint.directory else ()),
    }
    check_all_read({name.removeprefix(base) for name in left}, checkpoint)
    return model


def _tensors_outside(checkpoint: Checkpoint, base: str) -> list[str]:
    """Return an embedder's tensors that lack the prefix ``base``, if others have it; transformers ignores them."""
    with contextlib.suppress(CheckpointError):  # a pickle from before torch 1.6, which only torch reads
        names = tensor_names(checkpoint.weights)
        if checkpoint.task == "embed" and any(name.startswith(base) for name in names):
            return [name for name in names if not name.startswith(base)]
    return []


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what torch and optimum print and log in the block: it is about their internals. Errors still pass."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
