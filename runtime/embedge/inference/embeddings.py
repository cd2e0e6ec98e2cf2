"""All kinds of vectors of texts, from one run of the model: dense, sparse and multi-vector, as bge-m3 has them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedge.inference.collectors import Collector, Outputs, Rows
from embedge.inference.sparse import SparseVector
from embedge.inference.token_batch import TokenBatch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Embedding:
    """The vectors of one text; a kind that was not asked for is None.

    Attributes:
        dense: the vector of ``Embedder.encode``, float32 [dimension]. FlagEmbedding calls these ``dense_vecs``.
        sparse: the lexical weights of ``Embedder.encode_sparse``. FlagEmbedding calls them ``lexical_weights``.
        multi_vector: the vectors of ``Embedder.encode_multi_vector``, float32 [tokens - 1, dimension]. FlagEmbedding
            calls them ``colbert_vecs``.
    """

    dense: NDArray[Any] | None = None
    sparse: SparseVector | None = None
    multi_vector: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Embeddings:
    """The vectors of several texts, in input order; a kind that was not asked for is None.

    ``embeddings[i]`` is the ``Embedding`` of text ``i``, ``len`` the number of texts, and a loop yields one after
    another.

    Attributes:
        texts: the number of texts.
        dense: the vectors of ``Embedder.encode``, float32 [n, dimension]. FlagEmbedding calls them ``dense_vecs``.
        sparse: the lexical weights of ``Embedder.encode_sparse``. FlagEmbedding calls them ``lexical_weights``.
        multi_vector: for each text, the vectors of ``Embedder.encode_multi_vector``, float32 [tokens - 1, dimension].
            FlagEmbedding calls them ``colbert_vecs``.
    """

    texts: int
    dense: NDArray[Any] | None = None
    sparse: list[SparseVector] | None = None
    multi_vector: list[NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return self.texts

    def __getitem__(self, index: int) -> Embedding:
        if not -self.texts <= index < self.texts:
            raise IndexError(f"there is no text {index}, found {self.texts} texts")
        return Embedding(
            dense=None if self.dense is None else self.dense[index],
            sparse=None if self.sparse is None else self.sparse[index],
            multi_vector=None if self.multi_vector is None else self.multi_vector[index],
        )

    def __iter__(self) -> Iterator[Embedding]:
        return (self[index] for index in range(self.texts))


class EmbeddingsCollector:
    """Gives the outputs of a run to the collectors of all kinds that the caller asked for.

    Args:
        count: number of texts.
        kinds: the collectors, by the attribute of ``Embeddings`` that each fills.
    """

    def __init__(self, count: int, kinds: Mapping[str, Collector[Any]]) -> None:
        self._count = count
        self._kinds = kinds
        self.conversion: Hashable = tuple(collector.conversion for collector in kinds.values())
        self.outputs = tuple(output for collector in kinds.values() for output in collector.outputs)

    def rows(self, batch: TokenBatch, values: Outputs) -> list[tuple[Any, ...]]:
        """Return the results of all kinds for each text of one batch; see ``Collector``."""
        return list(zip(*(collector.rows(batch, values) for collector in self._kinds.values()), strict=True))

    def keep(self, members: Sequence[int], rows: Rows) -> None:
        """Store the results of some texts; see ``Collector``."""
        for collector, own in zip(self._kinds.values(), zip(*rows, strict=True), strict=True):
            collector.keep(members, own)

    def result(self) -> Embeddings:
        """Return the vectors of all texts."""
        return Embeddings(texts=self._count, **{kind: collector.result() for kind, collector in self._kinds.items()})
