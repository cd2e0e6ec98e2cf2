"""similarity.py, against sentence-transformers' own measures and numpy in float64."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import InputTypeError, InputValueError
from embedge.bundle.manifest import Similarity
from embedge.inference.similarity import similarity, similarity_pairwise

MEASURES: tuple[Similarity, ...] = ("cosine", "dot", "euclidean", "manhattan")


@pytest.fixture
def sets() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    generator = np.random.default_rng(0)
    first = generator.standard_normal((7, 48)).astype(np.float32) * 3
    second = generator.standard_normal((5, 48)).astype(np.float32)
    second[0] = first[0]  # at no distance
    return first, second


@pytest.mark.parametrize("measure", MEASURES)
def test_it_is_sentence_transformers_measure_of_that_name(
    sets: tuple[NDArray[np.float32], NDArray[np.float32]], measure: Similarity
) -> None:
    theirs = pytest.importorskip("sentence_transformers.util").similarity
    function = getattr(theirs, {"cosine": "cos_sim", "dot": "dot_score"}.get(measure, f"{measure}_sim"))
    expected = function(*(vectors.astype(np.float64) for vectors in sets)).numpy()
    np.testing.assert_allclose(similarity(*sets, measure), expected, rtol=1e-5, atol=2e-5)
    few = (sets[0][:5], sets[1])
    np.testing.assert_allclose(similarity_pairwise(*few, measure), np.diag(expected[:5]), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("measure", ["euclidean", "manhattan"])
def test_distances_of_many_are_those_of_few(measure: Similarity, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken some rows at a time."""
    vectors = np.random.default_rng(1).standard_normal((33, 8)).astype(np.float32)
    together = similarity(vectors, vectors, measure)
    monkeypatch.setattr("embedge.inference.similarity._BLOCK", 300)
    np.testing.assert_array_equal(similarity(vectors, vectors, measure), together)


@pytest.mark.parametrize("function", [similarity, similarity_pairwise])
@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        (["a", "b"], InputTypeError),
        ([None], InputTypeError),
        ([1j], InputTypeError),
        ([[1, 2], [3]], InputTypeError),
        (np.zeros((2, 2, 2)), InputValueError),
        (np.zeros(3), InputValueError),
    ],
)
def test_what_are_no_vectors_is_refused(function: Any, vectors: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="vectors to compare"):
        function(vectors, np.zeros((1, 2)))
