# mypy: disable-error-code="no-any-return"
"""The operators of embedge-kernels in numpy, written from their definition and not from the C++.

Arguments are in the order of the operators' inputs, with None for one that is left out; attributes are keywords. The
results are exact but for float32 rounding in ``dtype``: the kernels' own order of sums is not repeated here.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Floats = NDArray[np.floating]
Codes = NDArray[np.int8]
Ids = NDArray[np.int64]

_GELU, _GELU_TANH, _RELU = range(3)


def embed_layer_norm(
    input_ids: Ids,
    attention_mask: Ids,
    words: Codes,
    word_scales: Floats,
    positions: Floats,
    gain: Floats,
    bias: Floats,
    position_ids: Ids | None = None,
    *,
    epsilon: float,
) -> Floats:
    """Return the normalised sum of word and position embeddings, [batch, tokens, hidden]; zeros for padding."""
    places = np.arange(input_ids.shape[1]) if position_ids is None else position_ids
    rows = words[input_ids] * word_scales[input_ids] + positions[places]
    return _normalise(rows, gain, bias, epsilon) * (attention_mask == 1)[..., None]


def encoder_layer(  # noqa: D417  # the operator's inputs
    hidden: Floats,
    weight: Codes,
    scales: Floats,
    bias: Floats,
    static_scale: Floats | None,
    q_weight: Codes | None,
    q_scales: Floats | None,
    q_bias: Floats | None,
    q_static_scale: Floats | None,
    out_weight: Codes,
    out_scales: Floats,
    out_bias: Floats,
    attention_residual: Floats | None,
    attention_gain: Floats,
    attention_norm_bias: Floats,
    up_weight: Codes,
    up_scales: Floats,
    up_bias: Floats,
    up_static_scale: Floats | None,
    down_weight: Codes,
    down_scales: Floats,
    down_bias: Floats,
    down_residual: Floats | None,
    gain: Floats,
    norm_bias: Floats,
    attention_mask: Ids,
    *,
    num_heads: int,
    epsilon: float,
    first_token: int,
    activation: int,
    zero_point: int,
    step: float,
    least: float,
) -> Floats:
    """Return the output of one layer of an encoder, [batch, tokens, hidden]; [batch, 1, hidden] for ``first_token``.

    Padding has no part in attention, and zeros in the output.

    Args:
        weight: with its scales, bias and static scale that of QKV; of K and V alone for ``first_token``.
    """
    product = row_linear(hidden, weight, scales, bias, static_scale)
    if first_token:
        assert q_weight is not None
        assert q_scales is not None
        hidden = hidden[:, :1]
        query = row_linear(hidden, q_weight, q_scales, q_bias, q_static_scale)
        key, value = np.split(product, 2, axis=-1)
    else:
        query, key, value = np.split(product, 3, axis=-1)
    attended = row_linear(
        attention(query, key, value, attention_mask, num_heads=num_heads), out_weight, out_scales, out_bias
    )
    hidden = _normalise(attended + _restored(hidden, attention_residual), attention_gain, attention_norm_bias, epsilon)
    active = activate(row_linear(hidden, up_weight, up_scales, up_bias, up_static_scale), activation)
    row_scales = np.maximum(active.max(axis=-1, keepdims=True) * np.float32(step), np.float32(least))
    fed = _product(_codes(active, row_scales, zero_point), down_weight) * down_scales * row_scales + down_bias
    output = _normalise(fed + _restored(hidden, down_residual), gain, norm_bias, epsilon)
    return output * (attention_mask[:, : output.shape[1]] == 1)[..., None]


def row_linear(
    rows: Floats,
    weight: Codes,
    scales: Floats,
    bias: Floats | None = None,
    static_scale: Floats | None = None,
    *,
    activation: int = 0,
) -> Floats:
    """Return the product of int8 rows and an int8 weight, [..., outputs]; activation 1 is tanh, 2 is ReLU."""
    if static_scale is None:
        row_scales = np.abs(rows).max(axis=-1, keepdims=True) * np.float32(1 / 127)
        result = _product(_codes(rows, row_scales), weight) * scales * row_scales
    else:
        result = _product(_codes(rows, static_scale, 128), weight) * scales
    if bias is not None:
        result = result + bias
    return (lambda x: x, np.tanh, lambda x: np.maximum(x, 0))[activation](result)


def row_dot(rows: Floats, weight: Floats, bias: Floats, *, relu: int) -> Floats:
    """Return the dot product of each row and a vector, [...]."""
    result: Floats = rows @ weight + bias[0]
    return np.maximum(result, 0) if relu else result


def attention(query: Floats, key: Floats, value: Floats, mask: Ids, *, num_heads: int) -> Floats:
    """Return scaled dot-product attention; the rows of Q and K of each head are int8.

    Args:
        query: [batch, queries, hidden].
        key: [batch, tokens, hidden].
        value: [batch, tokens, hidden].
        mask: 1 for tokens, and 0 for padding, which is no key; [batch, tokens].
        num_heads: how many heads share the hidden size.
    """
    q, k, v = (x.reshape(*x.shape[:2], num_heads, -1).transpose(0, 2, 1, 3) for x in (query, key, value))
    q, k = (rounded(x) for x in (q, k))
    scores = (q @ k.swapaxes(-1, -2)) * np.float32(1 / sqrt(q.shape[-1]))
    scores = np.where(mask[:, None, None] == 1, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ v).transpose(0, 2, 1, 3).reshape(query.shape)


def activate(rows: Floats, activation: int) -> Floats:
    """Return an activation function of each element: 0 is GELU, 1 its approximation by tanh, 2 ReLU."""
    if activation == _RELU:
        return np.maximum(rows, 0)
    if activation == _GELU_TANH:
        return 0.5 * rows * (1 + np.tanh(sqrt(2 / np.pi) * (rows + 0.044715 * rows**3)))
    return (rows * 0.5 * (1 + erf(rows / sqrt(2)))).astype(rows.dtype)


def _restored(hidden: Floats, factors: Floats | None) -> Floats:
    return hidden if factors is None else hidden * factors


def rounded(rows: Floats) -> Floats:
    """The values of rows after they were int8, symmetric, with a scale for each row."""
    scales = np.abs(rows).max(axis=-1, keepdims=True) / np.float32(127)
    return _codes(rows, scales) * scales


def _codes(rows: Floats, scales: Floats, zero_point: int = 128) -> Floats:
    """The codes of rows, uint8 around ``zero_point``, less the zero point; 0 where a scale is 0."""
    codes = np.rint(np.divide(rows, scales, out=np.zeros_like(rows), where=scales != 0))
    return np.clip(codes, -zero_point, 255 - zero_point)


def _product(codes: Floats, weight: Codes) -> Floats:
    """The product of codes and an int8 weight, exact: the sums are integers, and float64 holds them."""
    return (codes.astype(np.float64) @ weight.astype(np.float64)).astype(codes.dtype)


def _normalise(rows: Floats, gain: Floats, bias: Floats, epsilon: float) -> Floats:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(epsilon)) * gain + bias
