"""gptq.py and quantise_rows on any matrix; and the bias is corrected for the mean error of rounding."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from embedge_export.int8.cholesky import factor_upper
from embedge_export.int8.gptq import PAIR_LIMIT, limit_pairs, quantise_weight, search_scales
from embedge_export.int8.quantise import quantise, quantise_rows
from linear_graphs import linear_model, normalised_model, of_rows, run_rows

Floats = NDArray[np.float32]
# Usual values, and unusual ones: zeros, huge outliers, subnormals, constants.
_ELEMENT = st.one_of(
    st.floats(-8, 8, width=32),
    st.sampled_from([0.0, 1e6, -1e6, 1e-42, -1e-42, 1.0]),
    st.floats(-(2**-126), 2**-126, width=32),
)
MATRICES = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=_ELEMENT)


def test_the_bias_corrects_the_mean_error_with_a_static_scale() -> None:
    """The row is the mean, half ones and half minus ones. It has exact codes, so only the weight is rounded."""
    weight = np.random.default_rng(4).standard_normal((64, 8)).astype(np.float32)
    rows = np.repeat(np.array([[1, -1]], np.float32), 32, axis=1)
    model = quantise(normalised_model(weight, np.ones(8, np.float32)), {"layer": of_rows(rows)})
    codes, scales = quantise_weight(weight, np.eye(64, dtype=np.float32))
    assert np.abs(rows @ (codes * scales) - rows @ weight).max() > 0.02
    np.testing.assert_allclose(run_rows(model, rows), rows @ weight + 1, atol=1e-4)


def test_the_bias_corrects_the_mean_error_of_rounding() -> None:
    """The row is the mean, and has exact codes, so the result is that of the float32 weight."""
    weight = np.random.default_rng(4).standard_normal((64, 8)).astype(np.float32)
    rows = np.full((1, 64), 127 / 32, np.float32)
    found = of_rows(rows)
    model = quantise(linear_model(weight, np.ones(8, np.float32), gelu=False), {"layer": found})
    codes, scales = quantise_weight(weight, found.covariance)
    assert np.abs(rows @ (codes * scales) - rows @ weight).max() > 0.1
    np.testing.assert_allclose(run_rows(model, rows), rows @ weight + 1, atol=1e-3)


@given(MATRICES)
def test_a_row_of_a_table_is_within_half_a_step_of_its_codes(table: Floats) -> None:
    codes, scales = quantise_rows(table)
    assert np.abs(codes.astype(np.int32)).max() <= 127
    error = np.abs(codes * scales[:, None].astype(np.float64) - table)
    assert (error <= scales[:, None] * 0.5001).all()


@given(MATRICES, st.integers(0, 9))
def test_no_pair_of_codes_can_overflow(weight: Floats, seed: int) -> None:
    """The sums of ``vpmaddubsw`` fit in 16 bits, for the largest rows and any weight."""
    latent = np.random.default_rng(seed).standard_normal((4, len(weight)))
    codes, scales = quantise_weight(weight, (latent.T @ latent).astype(np.float32))
    assert np.isfinite(scales).all()
    assert (scales > 0).all()
    wide = np.concatenate([codes, codes[:1] * 0]).astype(np.int32)[: len(codes) // 2 * 2 + 2]
    wide = wide[: len(wide) // 2 * 2]
    for sign in (1, -1):
        largest = np.maximum(sign * wide, 0).reshape(-1, 2, wide.shape[1]).sum(axis=1) * 255
        assert largest.max(initial=0) <= 32767


@given(MATRICES)
def test_limiting_pairs_changes_only_pairs_that_are_too_large(weight: Floats) -> None:
    codes = np.rint(np.clip(weight * 40, -127, 127))
    limited = limit_pairs(codes.copy())
    even = len(codes) // 2 * 2
    sums = np.abs(codes[0:even:2] + codes[1:even:2])
    same_sign = codes[0:even:2] * codes[1:even:2] > 0
    within = ~(same_sign & (sums > PAIR_LIMIT))
    for part in (0, 1):
        np.testing.assert_array_equal(limited[part:even:2][within], codes[part:even:2][within])


def gptq(weight: Floats, covariance: Floats, scales: Floats) -> NDArray[np.float64]:
    """GPTQ as its paper writes it: by the Cholesky factor of the inverse, one channel after the other."""
    damped = covariance.astype(np.float64) / np.diag(covariance).mean() + 0.05 * np.eye(len(weight))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    corrected, codes = weight.astype(np.float64), np.zeros(weight.shape)
    for channel in range(len(weight)):
        code = np.clip(np.rint(corrected[channel] / scales), -127, 127)
        if channel % 2:
            code = np.clip(code, -PAIR_LIMIT - codes[channel - 1], PAIR_LIMIT - codes[channel - 1])
        codes[channel] = code
        error = (corrected[channel] - code * scales) / upper[channel, channel]
        corrected[channel + 1 :] -= np.outer(upper[channel, channel + 1 :], error)
    return codes


def test_codes_are_those_of_gptq() -> None:
    """More inputs than two blocks. A code may differ by one where float32 sums decide, and then later ones, too."""
    random = np.random.default_rng(6)
    mixed = random.standard_normal((4000, 30)) @ random.standard_normal((30, 600)) + random.standard_normal((4000, 600))
    weight, covariance = random.standard_normal((600, 16)).astype(np.float32), np.cov(mixed.T).astype(np.float32)
    codes, scales = quantise_weight(weight, covariance)
    assert (codes != gptq(weight, covariance, scales)).mean() < 0.002


@given(st.integers(1, 700), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_the_cholesky_factor_gives_the_matrix_again(size: int, seed: int) -> None:
    rows = np.random.default_rng(seed).standard_normal((size + 5, size))
    matrix = rows.T @ rows + np.eye(size)
    factor = matrix.copy()
    factor_upper(factor)
    np.testing.assert_array_equal(factor, np.triu(factor))
    np.testing.assert_allclose(factor @ factor.T, matrix, atol=1e-8 * size)


@given(MATRICES)
def test_the_scale_of_a_column_is_the_best_of_all_that_are_tried(weight: Floats) -> None:
    """Compared with a search one column and one factor at a time, in float64."""
    importance = np.ones(len(weight), np.float32)
    found = search_scales(weight, importance)

    def cost(column: Floats, scale: float) -> float:
        codes = limit_pairs(np.rint(column[:, None] / np.float32(scale)))
        return float(np.square(codes.astype(np.float64) * scale - column[:, None]).sum())

    for number, column in enumerate(weight.T):
        base = max(float(np.abs(column).max() / np.float32(127)), 1e-12)
        least = min(cost(column, base * factor) for factor in np.geomspace(0.75, 2.05, 24))
        assert cost(column, float(found[number])) <= least * 1.001 + 1e-12 * float(np.square(column).sum()) + 1e-30


def test_gptq_errs_less_than_rounding_to_nearest() -> None:
    """On correlated inputs, the error of the product is less than half, although pairs are limited."""
    random = np.random.default_rng(3)
    mixed = random.standard_normal((4000, 24)) @ random.standard_normal((24, 96)) + 0.1 * random.standard_normal(
        (4000, 96)
    )
    weight = random.standard_normal((96, 48)).astype(np.float32)
    codes, scales = quantise_weight(weight, np.cov(mixed.T).astype(np.float32))
    nearest = np.abs(weight).max(axis=0) / 127
    errors = [mixed @ (rough - weight) for rough in (codes * scales, np.rint(weight / nearest) * nearest)]
    assert np.square(errors[0]).mean() < 0.5 * np.square(errors[1]).mean()
