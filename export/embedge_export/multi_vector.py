"""How nearly two graphs give tokens the same vectors."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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
