"""Quantise a float32 weight to int8 codes by GPTQ, so that no CPU overflows when it multiplies by them.

GPTQ (Frantar et al., arXiv:2210.17323) rounds one input channel after the other. After each, it corrects the channels
that are not rounded yet for the error, as far as the channels are correlated on the calibration texts.

The corrections come from a factorisation of the covariance, as in LDLQ, which gives the same codes as GPTQ (Chee et
al., arXiv:2307.13304, theorem 6) and needs no inverse: covariance = (I + F) D (I + F)', where F is strictly upper
triangular. Then channel k is rounded after the sum of F[j, k] times the error of each earlier channel j was added.

x86 CPUs without VNNI multiply unsigned rows by signed weights with ``vpmaddubsw``. That instruction adds the products
of inputs 2i and 2i + 1 in 16 bits, and saturates at 32,767. The largest value of a row is 255, and 255 * 128 = 32,640
still fits. So two codes of such a pair that have the same sign never add up to more than 128 in magnitude, and every
CPU computes the same sums. Few pairs of a trained weight are that large: the scales of the columns grow by a fifth.
Weights of 7 bits would avoid the overflow, too, but double the scales.
"""

import numpy as np
from numpy.typing import NDArray

from embedge_export.int8.cholesky import factor_upper
from embedge_export.int8.parallel import for_slices

PAIR_LIMIT = 128
_HIGHEST = 127
# The scales that are tried for a column, as factors of max|column| / 127. The smallest clip its largest weights; the
# largest suit a column in which two large weights are a pair.
_FACTORS = np.geomspace(0.75, 2.05, 24, dtype=np.float32)
_DAMPING = 0.05  # share of the mean variance that is added to each channel's, because the texts are only a sample
# Channels: after each block, all later channels are corrected by one matrix product; after each part of a block, the
# rest of the block.
_BLOCK, _PART = 256, 32
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
    feedback = _feedback(covariance)
    target, codes = weight.copy(), np.empty(weight.shape, np.float32)
    for start in range(0, len(weight), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(weight)))
        errors = _round_block(weight, target, codes, scales, feedback, block)
        target[block.stop :] += feedback[block, block.stop :].T @ errors
    return codes.astype(np.int8), scales


def search_scales(weight: NDArray[np.float32], importance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scale of each column, float32 [outputs], with which its rounded codes have the least squared error.

    For the search, codes are rounded to nearest, and pairs are limited.

    Args:
        weight: [inputs, outputs].
        importance: the factor of each input channel's squared error, such as the channel's variance, [inputs].
    """
    base: NDArray[np.float32] = np.maximum(np.abs(weight).max(axis=0) / np.float32(_HIGHEST), _TINY)
    best = np.empty_like(base)

    def search(columns: slice) -> None:
        best[columns] = _search(np.ascontiguousarray(weight[:, columns]), base[columns], importance)

    for_slices(search, weight.shape[1], width=len(weight))
    return best


def _search(
    weight: NDArray[np.float32], base: NDArray[np.float32], importance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the best of ``_FACTORS`` times the base scale for each column, [outputs]."""
    best, least = base.copy(), np.full(weight.shape[1], np.inf, np.float32)
    error = np.empty_like(weight)  # one array for all factors and passes
    for factor in _FACTORS:
        scales = base * factor
        np.rint(np.divide(weight, scales, out=error), out=error)
        _limit(error)
        np.square(np.subtract(np.multiply(error, scales, out=error), weight, out=error), out=error)
        cost = importance @ error
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
    limited = codes.copy()
    _limit(limited)
    return limited


def _limit(codes: NDArray[np.float32]) -> None:
    """Do what ``limit_pairs`` does, in place."""
    np.clip(codes, -_HIGHEST, _HIGHEST, out=codes)
    even = len(codes) // 2 * 2
    first, second = codes[0:even:2], codes[1:even:2]
    sums = np.abs(first + second)  # after clipping, only codes of the same sign can exceed the limit
    if sums.max(initial=0) <= PAIR_LIMIT:
        return
    places = np.nonzero(sums > PAIR_LIMIT)
    left, right, excess = first[places], second[places], sums[places] - PAIR_LIMIT
    in_first = np.abs(left) >= np.abs(right)
    first[places] = left - np.sign(left) * np.where(in_first, excess, 0)
    second[places] = right - np.sign(right) * np.where(in_first, 0, excess)


def _feedback(covariance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return I + F of the damped covariance, float32 [inputs, inputs]; see the module's docstring.

    Row k says how the error of channel k is distributed over the later channels.
    """
    variance = np.maximum(np.diag(covariance).astype(np.float64), 0)
    # If nothing varies, as with one text of one token, all channels count equally.
    mean, damping = variance.mean() or 1.0, _DAMPING
    while True:
        factor = covariance.astype(np.float64)
        factor /= mean
        factor[np.diag_indices_from(factor)] += damping
        try:
            factor_upper(factor)
        except np.linalg.LinAlgError:  # channels that hardly vary, or errors of float32 sums: damp more
            damping *= 10
        else:
            factor /= np.diag(factor)
            return factor.astype(np.float32)


def _round_block(
    weight: NDArray[np.float32],
    target: NDArray[np.float32],
    codes: NDArray[np.float32],
    scales: NDArray[np.float32],
    feedback: NDArray[np.float32],
    block: slice,
) -> NDArray[np.float32]:
    """Round a block of channels of ``target`` into ``codes``; return their errors to ``weight``, [block, outputs]."""
    errors = np.empty((block.stop - block.start, weight.shape[1]), np.float32)
    for start in range(block.start, block.stop, _PART):
        part = slice(start, min(start + _PART, block.stop))
        of_part = errors[part.start - block.start : part.stop - block.start]
        for channel in range(part.start, part.stop):
            done = channel - start
            wanted = target[channel] + feedback[start:channel, channel] @ of_part[:done]
            code = np.clip(np.rint(wanted / scales), -_HIGHEST, _HIGHEST)
            if channel % 2:
                partner = codes[channel - 1]
                code = np.clip(code, -PAIR_LIMIT - partner, PAIR_LIMIT - partner)
            codes[channel] = code
            of_part[done] = weight[channel] - code * scales
        rest = slice(part.stop, block.stop)
        target[rest] += feedback[part, rest].T @ of_part
    return errors
