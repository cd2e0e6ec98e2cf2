"""gptq.py and quantise_rows on any matrix; and the bias is corrected for the mean error of rounding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from embedge_export.int8.gptq import PAIR_LIMIT, limit_pairs, quantise_weight
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
