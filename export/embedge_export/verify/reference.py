"""What graphs are compared with: the results of a reference, which is dropped once it has computed them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedge.bundle.manifest import HIDDEN, SCORES
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.verify.padded_batches import Ids, padded_batches

# The outputs of a graph for one text, by name: ``last_hidden_state`` [tokens, dimension], ``token_weights`` [tokens],
# ``token_vectors`` [tokens, dimension], ``logits`` [1]; all float32.
Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """The results of a reference.

    Attributes:
        name: what the quality report calls the reference.
        ids: the token ids of each text, int64 [tokens].
        texts: the outputs for each text.
    """

    name: str
    ids: Sequence[Ids]
    texts: Sequence[Outputs]

    def of(self, output: str) -> list[NDArray[np.float32]]:
        """Return one output for each text."""
        return [text[output] for text in self.texts]


class Computes(Protocol):
    """Something that computes what a checkpoint gives for texts."""

    name: str

    def outputs(self, ids: Sequence[Ids], names: Iterable[str]) -> list[Outputs]:
        """Return these outputs for each text, whose token ids are int64 [tokens]."""


class Reference:
    """A graph that gives every output itself, opened with ONNX Runtime.

    Args:
        graph: the ONNX file.
        name: what the quality report calls it.
        pad_id: the token id to pad with.
        optimise: whether ONNX Runtime may rewrite the graph.

    Raises:
        CheckpointError: ONNX Runtime cannot open the file.
    """

    def __init__(self, graph: Path, name: str, *, pad_id: int = 0, optimise: bool = True) -> None:
        self.name = name
        self._pad_id = pad_id
        self._session = CpuSession(graph, optimise=optimise)

    def run(self, ids: Ids, mask: Ids, output: str = HIDDEN) -> NDArray[np.float32]:
        """Return one output of the graph for a batch, float32 [batch, ...].

        Args:
            ids: padded token ids, [batch, sequence].
            mask: 1 for a token and 0 for padding, [batch, sequence].
            output: the output's name.

        Raises:
            CheckpointError: the graph fails.
        """
        return self._run(ids, mask, [output])[0]

    def outputs(self, ids: Sequence[Ids], names: Iterable[str]) -> list[Outputs]:
        """Return these outputs for each text; the texts run in padded batches. See ``Computes``."""
        wanted, found = list(names), [dict[str, NDArray[np.float32]]() for _ in ids]
        for places, padded, mask in padded_batches(ids, pad_id=self._pad_id):
            for name, values in zip(wanted, self._run(padded, mask, wanted), strict=True):
                for place, rows in zip(places, values, strict=True):
                    found[place][name] = rows[: len(ids[place])].copy()  # a view would keep the padding
        return list(found)

    def _run(self, ids: Ids, mask: Ids, names: list[str]) -> list[NDArray[np.float32]]:
        return self._session.run(
            names, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        )


def score_outputs(scores: Iterable[NDArray[np.float32]]) -> list[Outputs]:
    """Return the outputs of a reranker for each pair from its score, [1]."""
    return [{SCORES: score} for score in scores]
