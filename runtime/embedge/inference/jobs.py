"""Jobs: what one call asks of a bundle, checked, and not yet run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np

from embedge.bundle.manifest import TOKEN_VECTORS, TOKEN_WEIGHTS, Manifest
from embedge.errors import BundleError
from embedge.inference.collectors import Collector, ListCollector, ScoreCollector, VectorCollector
from embedge.inference.inputs import Inputs
from embedge.inference.options import CallOptions, VectorOptions
from embedge.inference.pool import normalise
from embedge.inference.tokenise import Tokeniser
from embedge.inference.truncation import Truncation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.embeddings import Embeddings
    from embedge.inference.sparse import SparseVector

Kind = Literal["dense", "sparse", "multi_vector"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """The inputs of one call, and what becomes of them. It runs once: the collector keeps the output.

    Attributes:
        lengths: characters of each input.
        inputs: the texts or the pairs.
        collector: stores the output, and gives the result.
        options: the options of the call.
        truncation: counts the inputs that were truncated.
    """

    lengths: Sequence[int]
    inputs: Inputs
    collector: Collector[Result]
    options: CallOptions
    truncation: Truncation


class Jobs:
    """Makes the jobs of one bundle."""

    def __init__(self, manifest: Manifest, tokeniser: Tokeniser) -> None:
        self._manifest = manifest
        self._tokeniser = tokeniser

    def vectors(
        self, texts: list[str], options: VectorOptions, *, start: int = 0, truncation: Truncation | None = None
    ) -> Job[NDArray[Any]]:
        """Return the job whose result is the vectors of texts, [n, ...] of ``options.precision``.

        Args:
            texts: the texts of a call, or of one window of a stream.
            options: the options of the call.
            start: the index of the first text in error messages.
            truncation: counts the truncated texts of the whole stream; None makes one for these texts.
        """
        collector = VectorCollector(len(texts), options, self._manifest.pooling)
        return self._of_texts(texts, options.prefix, collector, options.call, start=start, truncation=truncation)

    def sparse(
        self, texts: list[str], prefix: str, options: CallOptions, *, truncation: Truncation | None = None
    ) -> Job[list[SparseVector]]:
        """Return the job whose result is the lexical weights of texts; raises BundleError if the model has none."""
        collector = self._sparse_collector(len(texts))
        return self._of_texts(texts, prefix, collector, options, truncation=truncation)

    def multi_vectors(
        self, texts: list[str], prefix: str, options: CallOptions, *, truncation: Truncation | None = None
    ) -> Job[list[NDArray[np.float32]]]:
        """Return the job whose result is the unit vectors of each text's tokens but the first; raises as ``sparse``."""
        collector = self._multi_vector_collector(len(texts))
        return self._of_texts(texts, prefix, collector, options, truncation=truncation)

    def all_kinds(
        self,
        texts: list[str],
        options: VectorOptions,
        kinds: Sequence[Kind],
        *,
        start: int = 0,
        truncation: Truncation | None = None,
    ) -> Job[Embeddings]:
        """Return the job whose result is several kinds of vectors, of one run; see ``vectors`` for the arguments.

        Raises as ``sparse``.
        """
        from embedge.inference.embeddings import EmbeddingsCollector  # dense vectors do not need it

        make: dict[Kind, Callable[[int], Collector[Any]]] = {
            "dense": lambda count: VectorCollector(count, options, self._manifest.pooling),
            "sparse": self._sparse_collector,
            "multi_vector": self._multi_vector_collector,
        }
        collector = EmbeddingsCollector(len(texts), {kind: make[kind](len(texts)) for kind in kinds})
        return self._of_texts(texts, options.prefix, collector, options.call, start=start, truncation=truncation)

    def scores(
        self, pairs: list[tuple[str, str]], options: CallOptions, *, truncation: Truncation | None = None
    ) -> Job[NDArray[np.float32]]:
        """Return the job whose result is a reranker's logits of pairs of query and document, float32 [n]."""
        return Job(
            [len(query) + len(document) for query, document in pairs],
            Inputs(self._tokeniser, pairs, None),
            ScoreCollector(len(pairs)),
            options,
            truncation or self.truncation(options, kind="pair"),
        )

    def truncation(self, options: CallOptions, *, kind: str = "text") -> Truncation:
        """Return what counts the truncated inputs of a call, which messages call ``kind``."""
        return Truncation(self._manifest.max_tokens, options.on_truncate, kind=kind)

    def _sparse_collector(self, count: int) -> ListCollector[SparseVector]:
        self._check_output(self._manifest.sparse, "lexical weights")
        from embedge.inference.sparse import to_sparse  # imported here, because dense vectors do not need it

        return ListCollector(count, TOKEN_WEIGHTS, partial(to_sparse, leave_out=self._tokeniser.special_ids()))

    def _multi_vector_collector(self, count: int) -> ListCollector[NDArray[np.float32]]:
        self._check_output(self._manifest.multi_vector, "multi-vectors")
        return ListCollector(count, TOKEN_VECTORS, _token_vectors)

    def _check_output(self, has: bool, what: str) -> None:
        """Raise BundleError if the model does not have what the caller asks for."""
        if not has:
            raise BundleError(
                f"{self._manifest.model} has no {what}; use a model that has, such as bge-m3: "
                "run `embedge export bge-m3`"
            )

    def _of_texts(
        self,
        texts: list[str],
        prefix: str,
        collector: Collector[Result],
        options: CallOptions,
        *,
        start: int = 0,
        truncation: Truncation | None = None,
    ) -> Job[Result]:
        return Job(
            [len(text) for text in texts],
            Inputs(self._tokeniser, texts, prefix, start),
            collector,
            options,
            truncation or self.truncation(options),
        )


def _token_vectors(ids: NDArray[np.integer[Any]], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors of a text's tokens but the first, float32 [tokens - 1, dimension]."""
    return normalise(vectors[1:])
