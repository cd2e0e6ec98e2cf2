"""Tokenise, pad, run, pool: for libraries that only run a graph, what their users write around it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Ids = NDArray[np.int64]
# Padded token ids and their mask, [batch, tokens], to last hidden states, [batch, tokens, hidden].
Run = Callable[[Ids, Ids], NDArray[Any]]
BATCH = 32  # sentence-transformers' default


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedEncoder:
    """Batches of 32 texts, longest first, each padded to its own longest: as sentence-transformers does by default.

    That is the kindest order to a graph whose activations have one scale for the whole batch: its texts are alike in
    length, and little of it is padding.

    Attributes:
        size: bytes of the files with the weights.
        tokenizer: without padding or truncation.
        pooling: ``cls``, ``mean`` or ``last``.
        run: the library's part.
    """

    size: int
    tokenizer: Tokenizer
    pooling: str
    run: Run

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        vectors: dict[int, NDArray[np.float32]] = {}
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            padded, mask = pad([ids[place] for place in places])
            vectors |= zip(places, pool(self.run(padded, mask), mask, self.pooling), strict=True)
        return np.stack([vectors[place] for place in range(len(ids))])


def pad(ids: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    """Ids and mask, [batch, longest].

    >>> [array.tolist() for array in pad([[5, 6], [7]])]
    [[[5, 6], [7, 0]], [[1, 1], [1, 0]]]
    """
    longest = max(map(len, ids))
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in ids], np.int64)
    return np.array([[*row, *[0] * (longest - len(row))] for row in ids], np.int64), mask


def pool(hidden: NDArray[Any], mask: Ids, pooling: str) -> NDArray[np.float32]:
    """Unit vectors, float32 [batch, hidden], of padded hidden states; in float64 on the way."""
    wide = np.asarray(hidden, np.float64)
    if pooling == "cls":
        vectors = wide[:, 0]
    elif pooling == "last":
        vectors = wide[np.arange(len(wide)), mask.sum(axis=1) - 1]
    else:
        vectors = (wide * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
