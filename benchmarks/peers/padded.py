"""Tokenise, pad, run, pool: for libraries that only run a graph, what their users write around it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from peers.base import Kit

Ids = NDArray[np.int64]
# Padded token ids and their mask, [batch, tokens], to last hidden states, [batch, tokens, hidden].
Run = Callable[[Ids, Ids], NDArray[Any]]
BATCH = 32  # sentence-transformers' default
BUDGET = 256  # tokens of a tuned batch, padding included


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedEncoder:
    """Batches of texts, longest first, each padded to its own longest.

    By default 32 texts, one batch after the other: as sentence-transformers does. That is the kindest order to a graph
    whose activations have one scale for the whole batch: its texts are alike in length, and little of it is padding.

    Attributes:
        size: bytes of the files with the weights.
        tokenizer: without padding or truncation.
        pooling: ``cls``, ``mean`` or ``last``.
        run: the library's part; with more than one worker, called from several threads at once.
        workers: batches at once.
        budget: tokens of a batch, padding included; None is a batch of 32 texts.
    """

    size: int
    tokenizer: Tokenizer
    pooling: str
    run: Run
    workers: int = 1
    budget: int | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        vectors: dict[int, NDArray[np.float32]] = {}

        def work(places: Sequence[int]) -> None:
            padded, mask = pad([ids[place] for place in places])
            vectors.update(zip(places, pool(self.run(padded, mask), mask, self.pooling), strict=True))

        batches = [order[start : start + rows] for start, rows in self._batches(ids, order)]
        if self.workers == 1:
            for places in batches:
                work(places)
        else:
            with ThreadPoolExecutor(self.workers) as threads:
                list(threads.map(work, batches))
        return np.stack([vectors[place] for place in range(len(ids))])

    def _batches(self, ids: Sequence[Sequence[int]], order: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Where each batch starts in the order, and its number of texts."""
        start = 0
        while start < len(order):
            rows = BATCH if self.budget is None else max(1, self.budget // len(ids[order[start]]))
            yield start, rows
            start += rows


def load_padded(kit: Kit, run: Run, *, size: int, tuned: bool) -> PaddedEncoder:
    """The encoder of a library that runs the graph; tuned, by token budget and on all cores at once."""
    return PaddedEncoder(
        size=size,
        tokenizer=open_tokenizer(kit.folder),
        pooling=kit.pooling,
        run=run,
        workers=kit.threads if tuned else 1,
        budget=BUDGET if tuned else None,
    )


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder, without the padding and truncation that its file may carry."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


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
    if pooling == "cls":
        vectors = hidden[:, 0].astype(np.float64)
    elif pooling == "last":
        vectors = hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1].astype(np.float64)
    else:
        vectors = (hidden.astype(np.float64) * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
