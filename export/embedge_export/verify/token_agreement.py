"""Compare the lexical weights and the token vectors of two graphs.

``largest_weights`` and ``token_cosines`` repeat arithmetic that the runtime has, too. This is deliberate: verify would
not notice an error in code that both sides share.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def largest_weights(ids: Iterable[int], weights: Iterable[float], *, excluded: Collection[int]) -> Mapping[int, float]:
    """Return the largest weight of each token id in a text; a token without a weight above 0 is left out.

    Args:
        ids: the token ids of a text.
        weights: one for each of ``ids``.
        excluded: token ids that get no weight, such as ``[CLS]`` and padding.

    >>> largest_weights([0, 9, 5, 9], [8, 0.25, 0, 0.5], excluded={0})
    {9: 0.5}
    """
    largest: dict[int, float] = {}
    for token, weight in zip(ids, weights, strict=True):
        if token not in excluded and weight > largest.get(token, 0):
            largest[token] = weight
    return largest


def lexical_agreement(
    actual: Sequence[Mapping[int, float]], expected: Sequence[Mapping[int, float]]
) -> NDArray[np.float64]:
    """Return how well the lexical weights of each text agree, float64 [texts]: 1 - |a - b|² / (|a|² + |b|²).

    The value is 1 for equal weights, and 0 for weights without a common token. For weights of the same length (L2) it
    is their cosine. It depends on the lengths, because a score is the sum of products of weights.

    A text with small weights adds little to any score, so its error counts less: where its |a|² + |b|² is below the
    mean over all texts, the error is divided by that mean.

    Args:
        actual: for each text, its weights by token id.
        expected: the reference's weights of the same texts.

    >>> lexical_agreement([{1: 1, 2: 1}, {1: 1}], [{1: 1, 2: 1}, {1: 1, 2: 0.5}]).tolist()
    [1.0, 0.92]
    >>> lexical_agreement([{}], [{}]).tolist()
    [1.0]
    """
    pairs = list(zip(actual, expected, strict=True))
    errors = np.array(
        [sum((a.get(token, 0) - b.get(token, 0)) ** 2 for token in a.keys() | b.keys()) for a, b in pairs]
    )
    sizes = np.array([sum(weight**2 for weight in (*a.values(), *b.values())) for a, b in pairs])
    divisors = np.maximum(sizes, sizes.mean())
    agreement: NDArray[np.float64] = 1 - np.divide(errors, divisors, out=np.zeros(len(pairs)), where=divisors != 0)
    return agreement


def token_cosines(
    actual: Sequence[NDArray[np.float32]], expected: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """Return, for each text, the cosine of the two vectors of each token, float64 [tokens].

    Args:
        actual: for each text, the vectors of its tokens, [tokens, dimension].
        expected: the reference's vectors, of the same shapes.

    >>> token_cosines([np.float32([[1, 0], [0, 2]])], [np.float32([[3, 0], [0, -1]])])[0].tolist()
    [1.0, -1.0]
    """
    cosines = []
    for first, second in zip(actual, expected, strict=True):
        a, b = first.astype(np.float64), second.astype(np.float64)
        cosines.append((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
    return cosines
