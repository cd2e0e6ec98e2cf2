"""Late interaction, as in ColBERT: the score of two texts from the vectors of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embedge.errors import InputTypeError, InputValueError
from embedge.inference.errstate import own_errstate

if TYPE_CHECKING:
    from numpy.typing import NDArray  # `embedge ship` leaves it out of functions


@own_errstate
def max_similarity(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    """Return the MaxSim score: the mean, over the query's tokens, of the largest cosine to a token of the document.

    ColBERT takes the sum over the query's tokens (Khattab and Zaharia 2020, arXiv:2004.12832, section 3.3). The mean,
    as in FlagEmbedding's ``colbert_score``, ranks the documents of a query the same, and makes the scores of long and
    short queries comparable.

    Args:
        query: vectors of one text from ``Embedder.encode_multi_vector``, float32 [tokens, dimension].
        document: vectors of another text, float32 [tokens, dimension].

    Raises:
        InputTypeError: an argument is not an array, for example a list of several texts' vectors.
        InputValueError: an argument is not [tokens, dimension] or has no tokens, or the dimensions differ.

    >>> query, document = np.float32([[1, 0], [0, 1]]), np.float32([[1, 0], [0.6, 0.8], [0, -1]])
    >>> round(max_similarity(query, document), 6)
    0.9
    """
    for name, vectors in (("query", query), ("document", document)):
        if not isinstance(vectors, np.ndarray):
            found = type(vectors).__name__
            raise InputTypeError(
                f"{name} must be the array of one text's vectors, found {found}; score texts one by one"
            )
        if vectors.ndim != 2 or not len(vectors):
            shape = list(vectors.shape)
            raise InputValueError(f"{name} must be [tokens, dimension], found {shape}; pass the vectors of one text")
    if query.shape[1] != document.shape[1]:
        raise InputValueError(
            f"vectors to compare must have the same dimension, found {query.shape[1]} and {document.shape[1]}; "
            "embed both with the same model"
        )
    return float((query @ document.T).max(axis=1).mean())
