"""max_similarity: the formula, written out token by token; and what it refuses."""

from typing import Any

import numpy as np
import pytest

from embedge import InputTypeError, InputValueError, max_similarity

QUERY, DOCUMENT = (np.random.default_rng(seed).standard_normal((seed, 8)).astype(np.float32) for seed in (3, 7))


def test_the_score_is_the_mean_over_query_tokens_of_the_largest_product() -> None:
    best = [max(sum(float(a) * float(b) for a, b in zip(q, d, strict=True)) for d in DOCUMENT) for q in QUERY]
    assert max_similarity(QUERY, DOCUMENT) == pytest.approx(sum(best) / 3, rel=1e-5)
    assert max_similarity(DOCUMENT, QUERY) != pytest.approx(sum(best) / 3, rel=1e-2)  # the two are not alike
    assert type(max_similarity(QUERY, DOCUMENT)) is float


@pytest.mark.parametrize(
    ("query", "document", "error", "message"),
    [
        ([QUERY], DOCUMENT, InputTypeError, "query must be the array of one text's vectors, found list; score"),
        (QUERY, "bread", InputTypeError, "document must be the array of one text's vectors, found str"),
        (QUERY[0], DOCUMENT, InputValueError, r"query must be \[tokens, dimension\], found \[8\]"),
        (QUERY, DOCUMENT[None], InputValueError, r"document must be \[tokens, dimension\], found \[1, 7, 8\]"),
        (QUERY[:0], DOCUMENT, InputValueError, r"query must be \[tokens, dimension\], found \[0, 8\]"),
        (QUERY, DOCUMENT[:, :4], InputValueError, "must have the same dimension, found 8 and 4; embed both"),
    ],
)
def test_what_is_no_texts_vectors_is_refused(query: Any, document: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        max_similarity(query, document)
