"""Quantise a float32 weight to int8 codes by GPTQ, so that no CPU overflows when it multiplies by them.

GPTQ (Frantar et al., arXiv:2210.17323) rounds one input channel after the other. After each, it corrects the channels
that are not rounded yet for the error, as far as the channels are correlated on the calibration texts.

x86 CPUs without VNNI multiply unsigned rows by signed weights with ``vpmaddubsw``. That instruction adds the products
of inputs 2i and 2i + 1 in 16 bits, and saturates at 32,767. The largest value of a row is 255, and 255 * 128 = 32,640
still fits. So two codes of such a pair that have the same sign never add up to more than 128 in magnitude, and every
CPU computes the same sums. Few pairs of a trained weight are that large: the scales of the columns grow by a fifth.
Weights of 7 bits would avoid the overflow, too, but double the scales.
"""

import numpy as np
from numpy.typing import NDArray

PAIR_LIMIT = 128
_HIGHEST = 127
# The scales that are tried for a column, as factors of max|column| / 127. The smallest clip its largest weights; the
# largest suit a column in which two large weights are a pair.
_FACTORS = np.geomspace(0.75, 2.05, 24, dtype=np.float32)
_DAMPING = 0.05  # share of the mean variance that is added to each channel's, because the texts are only a sample
_BLOCK = 64  # channels; after each block, all later channels are corrected by one matrix product
_TINY = np.float32(1e-12)  # the scale of a column of zeros; any positive number would do


def quantise_weight(
    weight: NDArray[np.float32], covariance: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the int8 codes of a weight, and the scale of each output channel.

    Args:
        weight: [inputs, outputs].
        covariance: the covariance of the layer's input channels, [inputs, inputs].

    Returns:
        Codes in [-127, 127], [inputs, outputs], in which no pair of inputs exceeds ``PAIR_LIMIT`` (see
        ``limit_pairs``); and float32 scales, [outputs].
    """
    scales = search_scales(weight, np.diag(covariance))
    corrected = weight.copy()
    upper = _inverse_cholesky(covariance)
    codes = np.zeros(weight.shape, np.float32)
    for start in range(0, len(weight), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(weight)))
        errors = _round_block(corrected, codes, scales, upper, block)
        corrected[block.stop :] -= upper[block, block.stop :].T @ errors
    return codes.astype(np.int8), scales


def search_scales(weight: NDArray[np.float32], importance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale of each column, float32 [outputs], with which its rounded codes have the least squared error.

    For the search, codes are rounded to nearest, and pairs are limited.

    Args:
        weight: [inputs, outputs].
        importance: the factor of each input channel's squared error, such as the channel's variance, [inputs].
    """
    base: NDArray[np.float32] = np.maximum(np.abs(weight).max(axis=0) / np.float32(_HIGHEST), _TINY)
    best, least = base.copy(), np.full(weight.shape[1], np.inf, np.float32)
    for factor in _FACTORS:
        scales = base * factor
        error = limit_pairs(np.rint(weight / scales)) * scales - weight
        cost = importance @ np.square(error)
        best[cost < least] = scales[cost < least]
        least = np.minimum(cost, least)
    return best


def limit_pairs(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip codes to [-127, 127], and reduce the larger code of each pair of inputs that exceeds ``PAIR_LIMIT``.

    A pair is inputs 2i and 2i + 1. It exceeds the limit if both codes have the same sign, and the magnitude of their
    sum is larger.

    Args:
        codes: [inputs, outputs].

    >>> limit_pairs(np.array([[100.0, 100, -90], [90, -90, -200]], np.float32)).tolist()
    [[38.0, 100.0, -90.0], [90.0, -90.0, -38.0]]
    """
    codes = np.clip(codes, -_HIGHEST, _HIGHEST)
    even = len(codes) // 2 * 2
    first, second = codes[0:even:2], codes[1:even:2]
    excess = np.where(first * second > 0, np.maximum(np.abs(first) + np.abs(second) - PAIR_LIMIT, 0), 0)
    in_first = np.abs(first) >= np.abs(second)
    first -= np.sign(first) * np.where(in_first, excess, 0)
    second -= np.sign(second) * np.where(in_first, 0, excess)
    return codes


def _inverse_cholesky(covariance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the upper triangular U with U'U = the inverse of the damped covariance, float32 [inputs, inputs].

    Row k says how the error of channel k is distributed over the later channels.
    """
    variance = np.maximum(np.diag(covariance).astype(np.float64), 0)
    # If nothing varies, as with one text of one token, all channels count equally.
    relative = covariance / (variance.mean() or 1.0)
    damping = _DAMPING
    while True:
        damped = relative + damping * np.eye(len(covariance))
        try:
            factor: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(damped)).T
        except np.linalg.LinAlgError:  # channels that hardly vary, or errors of float32 sums: damp more
            damping *= 10
        else:
            return factor.astype(np.float32)


def _round_block(
    corrected: NDArray[np.float32],
    codes: NDArray[np.float32],
    scales: NDArray[np.float32],
    upper: NDArray[np.float32],
    block: slice,
) -> NDArray[np.float32]:
    """Round a block of channels into ``codes``; return their errors, divided by the diagonal of U, [block, outputs]."""
    errors = np.zeros((block.stop - block.start, corrected.shape[1]), np.float32)
    for channel in range(block.start, block.stop):
        done = channel - block.start
        target = corrected[channel] - upper[block.start : channel, channel] @ errors[:done]
        code = np.clip(np.rint(target / scales), -_HIGHEST, _HIGHEST)
        if channel % 2:
            partner = codes[channel - 1]
            code = np.clip(code, -PAIR_LIMIT - partner, PAIR_LIMIT - partner)
        codes[channel] = code
        errors[done] = (target - code * scales) / upper[channel, channel]
    return errors
