"""The checkpoint as traced by optimum, the ecosystem's own exporter: the oracle for verify, and the other exporter."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedge.bundle.manifest import HIDDEN, TOKEN_VECTORS, TOKEN_WEIGHTS
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.verify.token_head import TokenHead


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
        self._session = CpuSession(graph, optimise=True)

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64], output: str = HIDDEN) -> NDArray[np.float32]:
        """An output, float32 [batch, ...], for padded ids and their mask, [batch, sequence]."""
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return self._session.run([output], feed)[0]

    def weigh_tokens(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Weights of tokens, float32 [batch, sequence], as ``run``."""
        return self.run(ids, mask, TOKEN_WEIGHTS) if self._sparse is None else self._sparse.weigh(self.run(ids, mask))

    def project_tokens(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of tokens of any length, float32 [batch, sequence, dimension], as ``run``."""
        if self._multi_vector is None:
            return self.run(ids, mask, TOKEN_VECTORS)
        return self._multi_vector.project(self.run(ids, mask))
