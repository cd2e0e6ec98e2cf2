"""Reads config.json: the task, the size of a hidden state, and models that cannot be exported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedge.bundle.manifest import Task
from embedge.errors import CheckpointError
from embedge_export.checkpoint.json_file import read_json


def read_config(folder: Path) -> dict[str, Any]:
    """Return the object in the config.json of a folder.

    Raises:
        CheckpointError: the file does not exist or cannot be read.
    """
    config = read_json(folder / "config.json")
    if config is None:
        raise CheckpointError(
            f"{folder} holds no config.json, so it is not a checkpoint; run `embedge export --help` to see what you "
            "can export"
        )
    return config


def find_task(folder: Path, config: Mapping[str, Any]) -> Task:
    """Return ``rerank`` for a classifier with one label, which scores pairs of texts, and ``embed`` for an encoder.

    Raises:
        CheckpointError: the classifier has several labels.
    """
    if not any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ()):
        return "embed"
    labels = len(config.get("id2label") or range(int(config.get("num_labels", 2))))
    if labels != 1:
        raise CheckpointError(
            f"{folder} is a classifier of {labels} labels; choose an embedder, or a reranker, which has one"
        )
    return "rerank"


def check_no_own_code(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError if config.json names a model class whose code is in the checkpoint.

    transformers runs such code only if it is allowed to. Otherwise it loads the weights into its own class of the same
    ``model_type``, for which they were not trained.
    """
    own = config.get("auto_map") or {}
    for name in ("AutoModel", "AutoModelForSequenceClassification"):
        if name in own:
            raise CheckpointError(
                f"{folder / 'config.json'} names a model whose code is in the checkpoint, {own[name]} (auto_map), and "
                f"the exporter does not run it; delete auto_map there if transformers' own {config.get('model_type')} "
                "gives the same vectors"
            )


def hidden_size(config: Mapping[str, Any]) -> int:
    """Return the dimension of a hidden state, whichever key of config.json states it; 0 if none does."""
    return int(config.get("hidden_size") or config.get("dim") or config.get("d_model") or 0)
