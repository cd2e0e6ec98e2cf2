"""pool.py, against numpy in float64 and sentence-transformers' own quantisation."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Embedder, max_similarity
from embedge.errors import InputValueError
from embedge.inference.options import OutputPrecision
from embedge.inference.pool import convert, normalise, pool, sigmoid
from embedge.inference.similarity import similarity, similarity_pairwise
from embedge.inference.sparse import to_sparse


@pytest.fixture
def vectors() -> NDArray[np.float32]:
    return normalise(np.random.default_rng(0).standard_normal((120, 48)).astype(np.float32))


def test_mean_is_the_mean_of_the_tokens() -> None:
    hidden = np.random.default_rng(1).standard_normal((3, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(pool(hidden, "mean"), hidden.astype(np.float64).mean(axis=1), atol=1e-6)


def test_a_row_is_normalised_the_same_in_any_company(vectors: NDArray[np.float32]) -> None:
    scaled = vectors * 3.7
    alone = np.concatenate([normalise(scaled[i : i + 1]) for i in range(len(scaled))])
    np.testing.assert_array_equal(normalise(scaled), alone)


def test_zero_stays_zero() -> None:
    assert not normalise(np.zeros((1, 4), np.float32)).any()


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_small_types_are_those_of_sentence_transformers(
    vectors: NDArray[np.float32], precision: OutputPrecision
) -> None:
    quantize_embeddings = pytest.importorskip("sentence_transformers.util.quantization").quantize_embeddings
    expected = quantize_embeddings(vectors, precision=precision)
    actual = convert(vectors, precision)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_many_vectors_are_scaled_by_one_range(precision: OutputPrecision) -> None:
    quantize_embeddings = pytest.importorskip("sentence_transformers.util.quantization").quantize_embeddings
    many = np.random.default_rng(2).standard_normal((9000, 8)).astype(np.float32)
    many[5000] *= 3
    np.testing.assert_array_equal(convert(many, precision), quantize_embeddings(many, precision=precision))


def test_few_vectors_have_a_poor_range_and_say_so(vectors: NDArray[np.float32]) -> None:
    with pytest.warns(UserWarning, match="at least 100"):
        assert convert(vectors[:1], "int8").tolist() == [[-128] * 48]


def test_similarity_is_the_cosine(vectors: NDArray[np.float32]) -> None:
    wide = vectors.astype(np.float64)
    np.testing.assert_allclose(similarity(vectors[:3] * 2, vectors), wide[:3] @ wide.T, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 1e200])
def test_similarity_is_of_directions_only(vectors: NDArray[np.float32], scale: float) -> None:
    """Squares of such numbers are no float32; the smallest is not even normal, so it has few digits."""
    dtype = np.float64 if scale == 1e200 else np.float32
    scaled = (vectors.astype(np.float64) * scale).astype(dtype)
    tolerance = 0.02 if scale == 1e-42 else 1e-6
    np.testing.assert_allclose(similarity(scaled, vectors), similarity(vectors, vectors), atol=tolerance)


def test_similarity_takes_int8_codes_and_zeros(vectors: NDArray[np.float32]) -> None:
    codes = convert(vectors, "int8")
    assert codes.min() == -128
    wide = codes.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    np.testing.assert_allclose(similarity(codes, codes), wide @ wide.T, atol=1e-6)
    assert not similarity(np.zeros(48), vectors).any()


def test_similarity_wants_one_dimension() -> None:
    with pytest.raises(InputValueError, match="found 3 and 4"):
        similarity(np.ones((1, 3)), np.ones((1, 4)))


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 3e38])
def test_a_vector_of_any_size_is_scaled_to_length_one(vectors: NDArray[np.float32], scale: float) -> None:
    """Squares of such numbers are no float32; the smallest is not even normal, so it has few digits."""
    given = (vectors.astype(np.float64) * scale).astype(np.float32)
    tolerance = 0.02 if scale == 1e-42 else 1e-6
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(normalise(given), vectors, atol=tolerance)


def test_a_vector_among_such_keeps_its_bits(vectors: NDArray[np.float32]) -> None:
    mixed = np.concatenate([vectors[:2] * 3, vectors[2:3] * np.float32(1e30), np.zeros((1, 48), np.float32)])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(normalise(mixed)[:2], normalise(vectors[:2] * 3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_has_no_direction(vectors: NDArray[np.float32], value: float) -> None:
    broken = vectors.copy()
    broken[3, 5] = value
    with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
        normalise(broken)
    with pytest.raises(InputValueError, match="must be finite"):
        similarity(broken, vectors)


@pytest.fixture
def strict() -> Iterator[None]:
    """numpy, as a program that debugs its own arithmetic sets it."""
    before = np.seterr(all="raise")
    yield
    np.seterr(**before)


@pytest.mark.usefixtures("strict")
def test_what_a_caller_makes_errors_of_is_none_here(tiny: Embedder) -> None:
    """numpy.seterr(all="raise") made one of the square of a small number, on every call."""
    texts = ["the cat", "a dog sat on a stone"] * 60
    found = tiny.encode(texts)
    tiny.encode(texts, precision="int8")
    tiny.encode(texts, precision="ubinary")
    assert next(tiny.stream(texts)).shape == (32,)
    small = np.full((2, 48), 1e-30, np.float32)
    assert similarity(small, small).shape == (2, 2)
    assert similarity_pairwise(found, found).shape == (120,)
    assert max_similarity(small, small) == 0
    assert sigmoid(np.array([-200], np.float32)) == 0
    ids, weights = np.array([1, 2], np.int32), np.array([1e-45, 0.5], np.float32)
    sparse = to_sparse(ids, weights, leave_out=())
    assert sparse.dot(sparse) == 0.25
