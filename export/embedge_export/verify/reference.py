"""A graph that other graphs are compared with."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedge.bundle.manifest import HIDDEN, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.verify.token_head import TokenHead


class Reference:
    """A graph to compare with, opened with ONNX Runtime.

    Args:
        graph: the ONNX file.
        name: what the quality report calls it.
        sparse: computes the weights of tokens from the graph's hidden states; None if the graph gives the weights.
        multi_vector: computes the vectors of tokens from the hidden states; None if the graph gives the vectors.

    Raises:
        CheckpointError: ONNX Runtime cannot open the file.
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
        self._session = CpuSession(graph, optimise=True)

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64], output: str = HIDDEN) -> NDArray[np.float32]:
        """Return one output of the graph, float32 [batch, ...].

        Args:
            ids: padded token ids, [batch, sequence].
            mask: 1 for a token and 0 for padding, [batch, sequence].
            output: the output's name.

        Raises:
            CheckpointError: the graph fails.
        """
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return self._session.run([output], feed)[0]

    def weigh_tokens(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the weight of each token, float32 [batch, sequence]. The arguments are those of ``run``."""
        return self.run(ids, mask, TOKEN_WEIGHTS) if self._sparse is None else self._sparse.weigh(self.run(ids, mask))

    def project_tokens(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vector of each token, not normalised, float32 [batch, sequence, dimension]; see ``run``."""
        if self._multi_vector is None:
            return self.run(ids, mask, TOKEN_VECTORS)
        return self._multi_vector.project(self.run(ids, mask))
