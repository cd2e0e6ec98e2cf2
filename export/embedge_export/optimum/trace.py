"""Trace the float32 graph of a checkpoint with optimum, Hugging Face's exporter."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensor_files import tensor_names
from embedge_export.checkpoint.tensors import check_all_read
from embedge_export.errors import reason_of
from embedge_export.extras import require_optimum_extra
from embedge_export.optimum.renamed_copy import write_renamed

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
                str(_known_to_transformers(checkpoint, Path(scratch))),
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


def _known_to_transformers(checkpoint: Checkpoint, scratch: Path) -> Path:
    """Return the checkpoint's directory, or a copy in ``scratch`` if transformers does not know the tensors' names.

    Raises:
        CheckpointError: a tensor is missing or not used, in the directory and in the copy.
    """
    try:
        _check_complete(checkpoint, checkpoint.directory)
    except Exception:  # one of embedge or of transformers
        if not _write_renamed(checkpoint, scratch):
            raise
        _check_complete(checkpoint, scratch)
        return scratch
    return checkpoint.directory


def _write_renamed(checkpoint: Checkpoint, scratch: Path) -> bool:
    """Write a copy without the wrappers' prefixes of the tensor names; return whether there were any."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    kind = MODEL_MAPPING[type(AutoConfig.from_pretrained(checkpoint.directory, local_files_only=True))]
    try:
        return write_renamed(checkpoint, scratch, base=kind.base_model_prefix)
    except CheckpointError:  # the error that transformers raised before says more
        return False


def _check_complete(checkpoint: Checkpoint, folder: Path) -> None:
    """Check that transformers finds every tensor that it needs, and uses every tensor.

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


def _tensors_outside(checkpoint: Checkpoint, base: str) -> list[str]:
    """Return an embedder's tensors that lack the prefix ``base``, if others have it; transformers ignores them."""
    with contextlib.suppress(CheckpointError):  # a pickle from before torch 1.6, which only torch reads
        names = tensor_names(checkpoint.weights)
        if checkpoint.task == "embed" and any(name.startswith(base) for name in names):
            return [name for name in names if not name.startswith(base)]
    return []


def tracer_versions() -> str:
    """Return the names and versions of the packages behind ``trace``."""
    return f"optimum-onnx {version('optimum-onnx')}, torch {version('torch')}"


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
