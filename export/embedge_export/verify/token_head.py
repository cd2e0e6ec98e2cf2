"""The linear layers that bge-m3 stores beside its encoder, in numpy: the reference for a graph's token outputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedge.bundle.manifest import HIDDEN, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensors import Tensors
from embedge_export.verify.reference import Outputs


@dataclass(frozen=True, slots=True, eq=False)
class TokenHead:
    """A linear layer, float32.

    Attributes:
        weight: [outputs, dimension].
        bias: [outputs].
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def weigh(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the weight of each token, float32 [batch, tokens].

        Source: FlagEmbedding, ``BGEM3ForInference.sparse_embedding``.

        Args:
            hidden: the hidden states of the tokens, [batch, tokens, dimension].

        >>> TokenHead(np.float32([[1, 2]]), np.float32([-1])).weigh(np.float32([[[1, 1], [0, 0]]])).tolist()
        [[2.0, 0.0]]
        """
        weights: NDArray[np.float32] = np.maximum(self.project(hidden), 0)[..., 0]
        return weights

    def project(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vector of each token, not normalised, float32 [batch, tokens, outputs].

        Source: FlagEmbedding, ``EncoderOnlyEmbedderM3Model._colbert_embedding``.

        Args:
            hidden: the hidden states of the tokens, [batch, tokens, dimension].

        >>> TokenHead(np.float32([[1, 2], [0, 1]]), np.float32([-1, 0])).project(np.float32([[[1, 1]]])).tolist()
        [[[2.0, 1.0]]]
        """
        vectors: NDArray[np.float32] = hidden @ self.weight.T + self.bias
        return vectors


class TokenHeads:
    """bge-m3's heads, which transformers and optimum do not know; of other checkpoints, none.

    Args:
        checkpoint: the checkpoint.

    Raises:
        CheckpointError: a file of a head cannot be read, or contains something else.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._sparse = _read_head(checkpoint, checkpoint.sparse_head, outputs=1)
        self._multi_vector = _read_head(checkpoint, checkpoint.multi_vector_head, outputs=checkpoint.dimension)

    def outputs(self, texts: Iterable[NDArray[np.float32]]) -> list[Outputs]:
        """Return the outputs of each text: its hidden states [tokens, dimension], and what the heads make of them."""
        return [self._of_text(hidden) for hidden in texts]

    def _of_text(self, hidden: NDArray[np.float32]) -> Outputs:
        outputs = {HIDDEN: hidden}
        if self._sparse is not None:
            outputs[TOKEN_WEIGHTS] = self._sparse.weigh(hidden)
        if self._multi_vector is not None:
            outputs[TOKEN_VECTORS] = self._multi_vector.project(hidden)
        return outputs


def _read_head(checkpoint: Checkpoint, file: Path | None, *, outputs: int) -> TokenHead | None:
    """Read a linear layer from a file beside a checkpoint's encoder; return None if ``file`` is None.

    Raises:
        CheckpointError: the file cannot be read, or contains something else.
    """
    if file is None:
        return None
    with Tensors(checkpoint, layer=file) as tensors:
        return TokenHead(tensors.get("weight", outputs, checkpoint.dimension), tensors.get("bias", outputs))
