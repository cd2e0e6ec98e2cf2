"""Measure how much the result for a text changes with the other texts of its batch; 0 is batch-invariant.

A batch holds texts of one length in tokens. So a text whose length no other text has is always alone: it is computed
alone and once among all texts, and left out of the rounds, which would repeat the same run.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedge import Embedder, Reranker

_ROUNDS = 4  # random orders and batch sizes that are tried


def batch_difference(model: Embedder, texts: Sequence[str], *, rounds: int = _ROUNDS, seed: int = 0) -> float:
    """Return the largest change of an element of a text's vector, between the text alone and the text in a batch.

    Each round embeds texts in a random order, in batches of a random size: all texts in the first round, those that
    share their length in the others.
    """
    random = np.random.default_rng(seed)
    alone = np.stack([model.encode(text, prompt="", normalize=True, on_truncate="ignore") for text in texts])
    shared, largest = _with_partners(model.count_tokens(list(texts))), 0.0
    for number in range(rounds):
        order = random.permutation(shared if number else len(texts))
        if not len(order):
            break
        batched = model.encode(
            [texts[place] for place in order],
            prompt="",
            normalize=True,
            on_truncate="ignore",
            batch_tokens=int(random.integers(1, 4096)),
        )
        largest = max(largest, float(np.abs(batched - alone[order]).max()))
    return largest


def token_batch_difference(model: Embedder, texts: Sequence[str]) -> float:
    """Return the largest change of an element of a token's vector, between a text alone and all texts together.

    The texts are those that share their length with another.
    """
    shared = [texts[place] for place in _with_partners(model.count_tokens(list(texts)))]
    alone = (model.encode_multi_vector(text, prompt="", on_truncate="ignore") for text in shared)
    batched = model.encode_multi_vector(shared, prompt="", on_truncate="ignore")
    return max((float(np.abs(one - other).max()) for one, other in zip(alone, batched, strict=True)), default=0.0)


def score_batch_difference(
    model: Reranker, pairs: Sequence[tuple[str, str]], *, rounds: int = _ROUNDS, seed: int = 0
) -> float:
    """Return the largest change of a pair's score: alone, and in batches of a random order and size.

    Args:
        model: the reranker.
        pairs: a query and a document each.
        rounds: how many random orders are tried.
        seed: the seed of the orders and of the sizes of the batches.
    """
    random = np.random.default_rng(seed)
    alone = np.array([model.score(pair, on_truncate="ignore") for pair in pairs])
    largest = 0.0
    for _ in range(rounds):
        order = random.permutation(len(pairs))
        batched = model.score(
            [pairs[place] for place in order], on_truncate="ignore", batch_tokens=int(random.integers(1, 4096))
        )
        largest = max(largest, float(np.abs(batched - alone[order]).max()))
    return largest


def _with_partners(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Return the places of the texts whose length in tokens another text has, too."""
    texts_of_length = Counter(lengths)
    return np.array([place for place, length in enumerate(lengths) if texts_of_length[length] > 1], np.int64)
