"""The reference by transformers: the checkpoint's own model in PyTorch, as its authors run it."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedge.bundle.manifest import HIDDEN, SCORES
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.optimum.load import load_model
from embedge_export.verify.padded_batches import Ids, padded_batches
from embedge_export.verify.reference import Outputs, score_outputs
from embedge_export.verify.token_head import TokenHeads


class TransformersReference:
    """A checkpoint, loaded by transformers. bge-m3's heads are in numpy: transformers does not know them.

    Args:
        checkpoint: the checkpoint.
        pad_id: the token id to pad with.
        scratch: a folder for a copy of the weights, if transformers does not know the names of the tensors.

    Raises:
        CheckpointError: transformers cannot load it, a tensor is missing, or a tensor is not used.
        MissingExtraError: the optimum extra is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, *, pad_id: int, scratch: Path) -> None:
        self.name = f"transformers {version('transformers')}, torch {version('torch')}"
        self._checkpoint, self._pad_id = checkpoint, pad_id
        self._heads = TokenHeads(checkpoint)
        self._model = load_model(checkpoint, scratch)

    def outputs(self, ids: Sequence[Ids], names: Iterable[str]) -> list[Outputs]:
        """Return all outputs for each text; the texts run in padded batches. See ``Computes``."""
        name = SCORES if self._checkpoint.task == "rerank" else HIDDEN
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(ids)
        for places, padded, mask in padded_batches(ids, pad_id=self._pad_id):
            for place, rows in zip(places, self._run(padded, mask, name), strict=True):
                found[place] = rows[: len(ids[place])].copy()  # a view would keep the padding
        if name == SCORES:
            return score_outputs(found)
        return self._heads.outputs(found)

    def _run(self, ids: Ids, mask: Ids, name: str) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            result: Any = self._model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
        values: NDArray[np.float32] = result[name].numpy()
        return values
