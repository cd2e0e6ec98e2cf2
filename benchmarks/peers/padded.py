"""Tokenise, pad, run and pool: the code that users write around a library that only runs a graph."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.peers.base import Kit

Ids = NDArray[np.int64]
# Maps padded token ids and their mask, [batch, tokens], to last hidden states, [batch, tokens, hidden].
Run = Callable[[Ids, Ids], NDArray[Any]]
BATCH = 32  # texts; the default of sentence-transformers
BUDGET = 256  # tokens in a tuned batch, with padding


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedEncoder:
    """An encoder that sorts texts by length, longest first, and pads each batch to its longest text.

    By default, it runs one batch of 32 texts after the other, as sentence-transformers does. This order is the best
    case for a graph with one activation scale per batch: the texts of a batch have similar lengths and little padding.

    Attributes:
        size: bytes of the files with the weights.
        tokenizer: a tokenizer without padding and truncation.
        pooling: ``cls``, ``mean`` or ``last``.
        run: runs the graph; with more than one worker, several threads call it at once.
        workers: the number of batches that run at once.
        budget: the number of tokens in a batch, with padding; None means 32 texts.
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
        """The position in the order at which each batch starts, and the number of its texts."""
        start = 0
        while start < len(order):
            rows = BATCH if self.budget is None else max(1, self.budget // len(ids[order[start]]))
            yield start, rows
            start += rows


def load_padded(kit: Kit, run: Run, *, size: int, tuned: bool) -> PaddedEncoder:
    """The encoder of a library that runs a graph. Tuned: batches by token budget, one per core at once."""
    return PaddedEncoder(
        size=size,
        tokenizer=open_tokenizer(kit.folder),
        pooling=kit.pooling,
        run=run,
        workers=kit.threads if tuned else 1,
        budget=BUDGET if tuned else None,
    )


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder, without the padding and truncation that its file may set."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def pad(ids: Sequence[Sequence[int]]) -> tuple[Ids, Ids]:
    """Padded ids and their mask, [batch, longest].

    >>> [array.tolist() for array in pad([[5, 6], [7]])]
    [[[5, 6], [7, 0]], [[1, 1], [1, 0]]]
    """
    longest = max(map(len, ids))
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in ids], np.int64)
    return np.array([[*row, *[0] * (longest - len(row))] for row in ids], np.int64), mask


def pool(hidden: NDArray[Any], mask: Ids, pooling: str) -> NDArray[np.float32]:
    """Unit vectors, float32 [batch, hidden], of padded hidden states; computed in float64."""
    if pooling == "cls":
        vectors = hidden[:, 0].astype(np.float64)
    elif pooling == "last":
        vectors = hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1].astype(np.float64)
    else:
        vectors = (hidden.astype(np.float64) * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
