"""The reference by optimum: Hugging Face's own ONNX graph of the checkpoint, run by ONNX Runtime."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from embedge.bundle.manifest import HIDDEN, SCORES
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.optimum.trace import trace
from embedge_export.verify.padded_batches import Ids
from embedge_export.verify.reference import Outputs, Reference
from embedge_export.verify.token_head import TokenHeads


class TracedReference:
    """A checkpoint, traced by optimum. bge-m3's heads are in numpy: optimum does not trace them.

    Args:
        checkpoint: the checkpoint.
        pad_id: the token id to pad with.
        scratch: a folder for the trace.

    Raises:
        CheckpointError: optimum cannot trace it, a tensor is missing, or a tensor is not used.
        MissingExtraError: the optimum extra is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, *, pad_id: int, scratch: Path) -> None:
        graph = trace(checkpoint, scratch)
        self.name = f"optimum-onnx {version('optimum-onnx')}, torch {version('torch')}"
        self._is_reranker = checkpoint.task == "rerank"
        self._heads = TokenHeads(checkpoint)
        self._graph = Reference(graph, self.name, pad_id=pad_id)

    def outputs(self, ids: Sequence[Ids], names: Iterable[str]) -> list[Outputs]:
        """Return all outputs for each text; see ``Computes``."""
        if self._is_reranker:
            return self._graph.outputs(ids, [SCORES])
        return self._heads.outputs(text[HIDDEN] for text in self._graph.outputs(ids, [HIDDEN]))
