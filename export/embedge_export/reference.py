"""The checkpoint as traced by optimum, the ecosystem's own exporter: the oracle for verify, and the other exporter."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge.manifest import HIDDEN, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.checkpoint import Checkpoint
from embedge_export.extra import require_optimum_extra
from embedge_export.token_head import TokenHead

_TASKS = {"embed": "feature-extraction", "rerank": "text-classification"}  # as optimum calls them


class Reference:
    """A graph to compare with.

    Args:
        graph: the ONNX file.
        name: what it is, for the quality report.
        sparse: gives weights of tokens by the graph's hidden states; None is for a graph that gives them itself.
        multi_vector: gives vectors of tokens likewise.
    """

    def __init__(
        self,
        graph: Path,
        name: str,
        *,
        sparse: TokenHead | None = None,
        multi_vector: TokenHead | None = None,
    ) -> None:
        self.name = name
        self._sparse = sparse
        self._multi_vector = multi_vector
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64], output: str = HIDDEN) -> NDArray[np.float32]:
        """An output, float32 [batch, ...], for padded ids and their mask, [batch, sequence]."""
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: value for name, value in feed.items() if name in self._inputs}
        found: NDArray[np.float32] = self._session.run([output], feed)[0]
        return found

    def weigh_tokens(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weights of tokens, float32 [batch, sequence], as ``run``."""
        return self.run(ids, mask, TOKEN_WEIGHTS) if self._sparse is None else self._sparse.weigh(self.run(ids, mask))

    def project_tokens(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of tokens of any length, float32 [batch, sequence, dimension], as ``run``."""
        if self._multi_vector is None:
            return self.run(ids, mask, TOKEN_VECTORS)
        return self._multi_vector.project(self.run(ids, mask))


def trace(checkpoint: Checkpoint, folder: Path) -> Path:
    """The float32 graph that optimum traces from the checkpoint, written into ``folder`` if it is not there; its path.

    transformers reads pickled weights with ``torch.load(weights_only=True)``, which runs no code of theirs.

    Raises:
        MissingExtraError: the optimum extra is not installed.
        CheckpointError: optimum cannot export it.
    """
    require_optimum_extra()
    if (folder / "model.onnx").is_file():
        return folder / "model.onnx"
    with quiet():
        from optimum.exporters.onnx import main_export

        try:
            _check_complete(checkpoint)
            main_export(
                str(checkpoint.directory),
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
            reason = str(error).strip().partition("\n")[0]
            raise CheckpointError(
                f"optimum cannot export {checkpoint.directory} ({type(error).__name__}: {reason})"
            ) from error
    return folder / "model.onnx"


def _check_complete(checkpoint: Checkpoint) -> None:
    """Transformers fills tensors that it does not find with random numbers, and only warns."""
    from transformers import AutoModel, AutoModelForSequenceClassification

    kind = AutoModelForSequenceClassification if checkpoint.task == "rerank" else AutoModel
    _, found = kind.from_pretrained(checkpoint.directory, output_loading_info=True, local_files_only=True)
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing or found["mismatched_keys"]:
        first = [*missing, *map(str, found["mismatched_keys"])][0]
        raise CheckpointError(f"{checkpoint.directory} has no tensor {first}; its config.json describes another model")


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
