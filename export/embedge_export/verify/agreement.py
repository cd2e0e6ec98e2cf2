"""How nearly two graphs give texts the same lexical weights."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def largest_by_token(
    ids: Iterable[int], weights: Iterable[float], *, leave_out: Collection[int]
) -> Mapping[int, float]:
    """The largest weight of each token of a text, where it is above 0; apart from the runtime's own on purpose.

    >>> largest_by_token([0, 9, 5, 9], [8, 0.25, 0, 0.5], leave_out={0})
    {9: 0.5}
    """
    found: dict[int, float] = {}
    for token, weight in zip(ids, weights, strict=True):
        if token not in leave_out and weight > found.get(token, 0):
            found[token] = weight
    return found


def agreements(mine: Sequence[Mapping[int, float]], theirs: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
    """How far the weights a and b of each text agree: 1 - |a - b|² / (|a|² + |b|²), float64 [texts].

    That is 1 where they are the same, 0 where they share no token, and their cosine where they are of one length;
    lengths count, since scores are sums of products of weights. A text whose weights are small adds little to any
    score: its difference is held against the mean of |a|² + |b|², where its own is less.

    >>> agreements([{1: 1, 2: 1}, {1: 1}], [{1: 1, 2: 1}, {1: 1, 2: 0.5}]).tolist()
    [1.0, 0.92]
    >>> agreements([{}], [{}]).tolist()
    [1.0]
    """
    pairs = list(zip(mine, theirs, strict=True))
    apart = np.array([sum((a.get(token, 0) - b.get(token, 0)) ** 2 for token in a.keys() | b.keys()) for a, b in pairs])
    sizes = np.array([sum(weight**2 for weight in (*a.values(), *b.values())) for a, b in pairs])
    against = np.maximum(sizes, sizes.mean())
    agreed: NDArray[np.float64] = 1 - np.divide(apart, against, out=np.zeros(len(pairs)), where=against != 0)
    return agreed


def token_cosines(
    mine: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """The cosine of each token's two vectors, float64 [tokens], for each text; apart from the runtime's on purpose.

    Args:
        mine: of each text [tokens, dimension].
        theirs: of the same shapes.

    >>> token_cosines([np.float32([[1, 0], [0, 2]])], [np.float32([[3, 0], [0, -1]])])[0].tolist()
    [1.0, -1.0]
    """
    found = []
    for first, second in zip(mine, theirs, strict=True):
        a, b = first.astype(np.float64), second.astype(np.float64)
        found.append((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
    return found
