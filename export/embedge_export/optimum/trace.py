"""The float32 graph that optimum traces from a checkpoint."""

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
from embedge_export.checkpoint.renamed_copy import write_renamed
from embedge_export.checkpoint.tensor_files import tensor_names
from embedge_export.checkpoint.tensors import check_all_read
from embedge_export.errors import reason_of
from embedge_export.extras import require_optimum_extra

_TASKS = {"embed": "feature-extraction", "rerank": "text-classification"}  # as optimum calls them


def trace(checkpoint: Checkpoint, folder: Path) -> Path:
    """The float32 graph that optimum traces from the checkpoint, written into ``folder`` if it is not there; its path.

    transformers reads pickled weights with ``torch.load(weights_only=True)``, which runs no code of theirs. Where it
    does not find the tensors under the names that they have, it is given a copy with names that it knows.

    Raises:
        MissingExtraError: the optimum extra is not installed.
        CheckpointError: optimum cannot export it, or it has tensors missing or left over.
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
        except Exception as error:  # whatever torch, transformers and optimum raise
            raise CheckpointError(
                f"optimum cannot export {checkpoint.directory} ({type(error).__name__}: {reason_of(error)})"
            ) from error
    return folder / "model.onnx"


def _known_to_transformers(checkpoint: Checkpoint, scratch: Path) -> Path:
    """The checkpoint's directory, or a copy in ``scratch`` where transformers does not know the names of its tensors.

    Raises:
        CheckpointError: a tensor is missing or left over in either.
    """
    try:
        _check_complete(checkpoint, checkpoint.directory)
    except Exception:  # transformers' own, too
        if not _is_renamed(checkpoint, scratch):
            raise
        _check_complete(checkpoint, scratch)
        return scratch
    return checkpoint.directory


def _is_renamed(checkpoint: Checkpoint, scratch: Path) -> bool:
    """Whether the names had wrappers in front, and there is a copy without them now."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    kind = MODEL_MAPPING[type(AutoConfig.from_pretrained(checkpoint.directory, local_files_only=True))]
    try:
        return write_renamed(checkpoint, scratch, base=kind.base_model_prefix)
    except CheckpointError:  # what transformers said of it says more
        return False


def _check_complete(checkpoint: Checkpoint, folder: Path) -> None:
    """Raises CheckpointError where transformers does not find every tensor, or has no place for one.

    It fills tensors that it does not find with random numbers, and only warns.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if checkpoint.task == "rerank" else AutoModel
    model, found = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing or found["mismatched_keys"]:
        first = [*missing, *map(str, found["mismatched_keys"])][0]
        raise CheckpointError(f"{checkpoint.directory} has no tensor {first}; its config.json describes another model")
    base = f"{model.base_model_prefix}."
    left = {*found["unexpected_keys"], *(_beside(checkpoint, base) if folder == checkpoint.directory else ())}
    check_all_read({name.removeprefix(base) for name in left}, checkpoint)


def _beside(checkpoint: Checkpoint, base: str) -> list[str]:
    """Tensors beside an embedder's encoder that has ``base`` in front, which transformers leaves out of its report."""
    with contextlib.suppress(CheckpointError):  # a pickle of before torch 1.6, which only torch reads
        names = tensor_names(checkpoint.weights)
        if checkpoint.task == "embed" and any(name.startswith(base) for name in names):
            return [name for name in names if not name.startswith(base)]
    return []


def traced_by() -> str:
    """Name and version of the exporter behind ``trace``."""
    return f"optimum-onnx {version('optimum-onnx')}, torch {version('torch')}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the tracer's warnings about its own internals away from the user; our errors say what matters."""
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
