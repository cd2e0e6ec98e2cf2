"""Measure how much the result for a text changes with the other texts of its batch; 0 is batch-invariant."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedge import Embedder, Reranker

_ROUNDS = 4  # random orders and batch sizes that are tried


def batch_difference(model: Embedder, texts: Sequence[str], *, rounds: int = _ROUNDS, seed: int = 0) -> float:
    """Return the largest change of an element of a text's vector, between the text alone and the text in a batch.

    Each round embeds all texts in a random order, in batches of a random size.
    """
    random = np.random.default_rng(seed)
    alone = np.stack([model.encode(text, prompt="", normalize=True, on_truncate="ignore") for text in texts])
    largest = 0.0
    for _ in range(rounds):
        order = random.permutation(len(texts))
        batched = model.encode(
            [texts[place] for place in order],
            prompt="",
            normalize=True,
            on_truncate="ignore",
            batch_tokens=int(random.integers(1, 4096)),
        )
        largest = max(largest, float(np.abs(batched - alone[order]).max()))
    return largest


def score_batch_difference(
    model: Reranker,
    pairs: Sequence[tuple[str, str]],
    scores: NDArray[np.float32],
    *,
    rounds: int = _ROUNDS,
    seed: int = 0,
) -> float:
    """Return the largest change of a pair's score: alone, and in batches of a random order and size.

    Args:
        model: the reranker.
        pairs: a query and a document each.
        scores: the scores of the pairs to compare with, from a batch, [pairs].
        rounds: how many random orders are tried.
        seed: the seed of the orders and of the sizes of the batches.
    """
    random = np.random.default_rng(seed)
    largest = max(
        abs(float(model.score(pair, on_truncate="ignore") - score)) for pair, score in zip(pairs, scores, strict=True)
    )
    for _ in range(rounds):
        order = random.permutation(len(pairs))
        batched = model.score(
            [pairs[place] for place in order], on_truncate="ignore", batch_tokens=int(random.integers(1, 4096))
        )
        largest = max(largest, float(np.abs(batched - scores[order]).max()))
    return largest
