"""A float32 weight -> int8 codes that keep the layer's output, and that no CPU can overflow.

Codes are chosen one input channel after the other; what rounding a channel loses is made up for by those that are still
to be rounded, as far as the calibration texts show them to move together. (GPTQ: Frantar et al., arXiv:2210.17323.)

x86 CPUs without VNNI multiply unsigned rows by signed weights with ``vpmaddubsw``, which adds the products of inputs
2i and 2i + 1 in 16 bits and *saturates*. 255 * 128 = 32,640 still fits, so codes in which no such pair adds up to more
than 128, of either sign, give every CPU the same sums. Few pairs of a trained weight are that large: columns' scales
grow by a fifth, where weights of 7 bits would double them.
"""

import numpy as np
from numpy.typing import NDArray

PAIR_LIMIT = 128
_HIGHEST = 127
# Column scales that are tried, as factors of max|column| / 127: from clipping the largest to what pairs may ask for.
_FACTORS = np.geomspace(0.75, 2.05, 24, dtype=np.float32)
_DAMPING = 0.05  # of the mean variance, added to every channel's: the texts are a sample
_BLOCK = 64  # channels after which the correction of all later ones is brought up to date
_TINY = np.float32(1e-12)  # the scale of a column of zeros: any positive number does


def round_weight(
    weight: NDArray[np.float32], covariance: NDArray[np.float32]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 codes of a weight [inputs, outputs], and one scale for each output channel.

    Args:
        weight: [inputs, outputs].
        covariance: of the layer's input, [inputs, inputs].

    Returns:
        Codes in [-127, 127] of which inputs 2i and 2i + 1 never exceed ``PAIR_LIMIT`` together, and float32 scales
        [outputs].
    """
    scales = choose_scales(weight, np.diag(covariance))
    left = weight.copy()
    upper = _upper_factor(covariance)
    codes = np.zeros(weight.shape, np.float32)
    for start in range(0, len(weight), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(weight)))
        errors = _round_block(left, codes, scales, upper, block)
        left[block.stop :] -= upper[block, block.stop :].T @ errors
    return codes.astype(np.int8), scales


def choose_scales(weight: NDArray[np.float32], importance: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scale of each column of a weight [inputs, outputs] at which rounding it to nearest, in pairs, costs least.

    Args:
        weight: [inputs, outputs].
        importance: of each input channel's squared error, [inputs].
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
    """Codes [inputs, outputs] within [-127, 127], and the larger of every pair of inputs cut to ``PAIR_LIMIT``.

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


def _upper_factor(covariance: NDArray[np.float32]) -> NDArray[np.float32]:
    """U of the inverse covariance, U'U, damped: its row k says how the error of channel k is shared by later ones."""
    variance = np.maximum(np.diag(covariance).astype(np.float64), 0)
    # Where nothing varies, as over one text of one token, all channels count alike.
    relative = covariance / (variance.mean() or 1.0)
    damping = _DAMPING
    while True:
        damped = relative + damping * np.eye(len(covariance))
        try:
            factor: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(damped)).T
        except np.linalg.LinAlgError:  # channels that hardly vary, and sums in float32: more damping outweighs both
            damping *= 10
        else:
            return factor.astype(np.float32)


def _round_block(
    left: NDArray[np.float32],
    codes: NDArray[np.float32],
    scales: NDArray[np.float32],
    upper: NDArray[np.float32],
    block: slice,
) -> NDArray[np.float32]:
    """Fills the codes of a block of channels in; returns their errors as U weighs them, [block, outputs]."""
    errors = np.zeros((block.stop - block.start, left.shape[1]), np.float32)
    for channel in range(block.start, block.stop):
        done = channel - block.start
        target = left[channel] - upper[block.start : channel, channel] @ errors[:done]
        code = np.clip(np.rint(target / scales), -_HIGHEST, _HIGHEST)
        if channel % 2:
            partner = codes[channel - 1]
            code = np.clip(code, -PAIR_LIMIT - partner, PAIR_LIMIT - partner)
        codes[channel] = code
        errors[done] = (target - code * scales) / upper[channel, channel]
    return errors
