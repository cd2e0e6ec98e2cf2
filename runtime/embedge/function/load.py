"""Open the model of a serverless function: the bundle that the environment names."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.errors import BundleNotFoundError
from embedge.hub.resolve import resolve

if TYPE_CHECKING:
    from embedge.embedder import Embedder
    from embedge.reranker import Reranker

MODEL = "EMBEDGE_MODEL"  # a bundle's path, or the name of a model in the cache
TASK_ROOT = "LAMBDA_TASK_ROOT"  # the folder of the function's code; AWS Lambda sets it
FOLDER = "bundle"  # in the task root
MEMORY = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"  # in MB; AWS Lambda sets it
# "At 1,769 MB, a function has the equivalent of one vCPU." Source: AWS Lambda's developer guide, "Configure Lambda
# function memory".
_MB_PER_CORE = 1769


def load_model() -> Embedder | Reranker:
    """Open the bundle of ``$EMBEDGE_MODEL``, or ``$LAMBDA_TASK_ROOT/bundle``, with the class of the manifest's task.

    It never downloads: a function would do so at every cold start.

    Raises:
        BundleNotFoundError: there is no bundle; the message says where to put one.
        BundleError: the bundle cannot be used; see ``Embedder`` for this and other errors.
    """
    bundle = resolve(_model_name(), local_files_only=True)
    if bundle.manifest.task == "rerank":
        from embedge.reranker import Reranker

        return Reranker(bundle.path, threads=lambda_cores())
    from embedge.embedder import Embedder

    return Embedder(bundle.path, threads=lambda_cores())


def _model_name() -> str | Path:
    """Return the path or the name of the model."""
    if name := os.environ.get(MODEL):
        return name
    root = os.environ.get(TASK_ROOT)
    if not root:
        raise BundleNotFoundError(f"no model: {MODEL} is not set; set it to the path of a bundle")
    folder = Path(root, FOLDER)
    if not folder.is_dir():
        raise BundleNotFoundError(
            f"no bundle at {folder}; put one there (`embedge bundle MODEL -o {FOLDER}`), or set {MODEL} to its path"
        )
    return folder


def lambda_cores() -> int | None:
    """Return the cores that AWS Lambda gives a function of this memory size, rounded up; None elsewhere.

    A small function sees two cores, and may use only a part of one core's time. With threads on both, it would use up
    this time sooner, and wait.
    """
    size = os.environ.get(MEMORY, "")
    return math.ceil(int(size) / _MB_PER_CORE) if size.isdecimal() and int(size) else None
