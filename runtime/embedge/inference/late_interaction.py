"""The score of two texts by the vectors of their tokens: late interaction, as ColBERT has it."""

import numpy as np
from numpy.typing import NDArray

from embedge.errors import InputTypeError, InputValueError
from embedge.inference.errstate import own_errstate


@own_errstate
def max_similarity(query: NDArray[np.float32], document: NDArray[np.float32]) -> float:
    """MaxSim: for each token of a query the largest cosine to a token of a document; their mean.

    ColBERT takes their sum (Khattab and Zaharia 2020, arXiv:2004.12832, section 3.3). FlagEmbedding's ``colbert_score``
    divides it by the query's number of tokens, as this does: that ranks the documents of a query the same, and scores
    of long and short queries are of one size.

    Args:
        query: a text's vectors by ``Embedder.encode_multi_vector``, [tokens, dimension].
        document: another's, [tokens, dimension].

    Raises:
        InputTypeError: one is no array, as a list of several texts' vectors.
        InputValueError: one is not [tokens, dimension] of a token or more, or they differ in dimension.

    >>> query, document = np.float32([[1, 0], [0, 1]]), np.float32([[1, 0], [0.6, 0.8], [0, -1]])
    >>> round(max_similarity(query, document), 6)
    0.9
    """
    for name, vectors in (("query", query), ("document", document)):
        if not isinstance(vectors, np.ndarray):
            found = type(vectors).__name__
            raise InputTypeError(f"{name} must be one text's array of vectors, found {found}; score texts one by one")
        if vectors.ndim != 2 or not len(vectors):
            raise InputValueError(f"{name} must be [tokens, dimension], found {list(vectors.shape)}; give one text's")
    if query.shape[1] != document.shape[1]:
        raise InputValueError(
            f"vectors to compare need one dimension, found {query.shape[1]} and {document.shape[1]}; "
            "embed both with one model"
        )
    return float((query @ document.T).max(axis=1).mean())
