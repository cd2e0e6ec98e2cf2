"""row_scale.py: which rows have one scale, and GELU's zero point."""

from collections.abc import Callable
from dataclasses import replace
from math import erf, sqrt
from pathlib import Path

import numpy as np
import pytest

from embedge_export.graph.prune import prune_to_first_token, with_split_layers
from embedge_export.int8 import activation_scale
from embedge_export.int8.activation_scale import GELU_DEPTH, static_scale
from embedge_export.int8.gptq import quantise_weight
from embedge_export.int8.quantise import quantise
from embedge_export.int8.smooth import smooth
from fitted import fit, run
from linear_graphs import normalised_model, of_rows, run_rows

MakeCheckpoint = Callable[..., Path]


def test_gelu_is_never_below_its_floor() -> None:
    lowest = min(x * 0.5 * (1 + erf(x / sqrt(2))) for x in np.linspace(-2, 0, 20001))
    assert -GELU_DEPTH < lowest < -0.1699


def test_normalised_rows_of_one_reach_have_one_scale() -> None:
    """The formula, with what is beyond the reach rounded to it; nothing looks for a row's scale or adds a bias."""
    random = np.random.default_rng(6)
    weight, rows = (random.standard_normal(shape).astype(np.float32) for shape in ((48, 8), (40, 48)))
    bias = random.standard_normal(8).astype(np.float32)
    normal = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    seen = np.clip(normal, -2, 2)
    model = quantise(normalised_model(weight, bias), {"layer": of_rows(seen, mean=np.zeros(48, np.float32))})
    codes, scales = quantise_weight(weight, np.eye(48, dtype=np.float32))
    step = 2 / 127
    rounded = np.clip(np.rint(normal / step), -128, 127) * step
    assert np.abs(rounded - normal).max() > 0.5
    np.testing.assert_allclose(run_rows(model, rows), rounded @ (codes * scales.astype(np.float64)) + bias, atol=0.05)
    assert {node.op_type for node in model.graph.node} == {
        "LayerNormalization",
        "QuantizeLinear",
        "MatMulIntegerToFloat",
    }


def test_rows_of_different_reach_keep_scales_of_their_own() -> None:
    """Sixteen rows, one of which reaches twice as far: 4 / (19 / 16) is 3.4 times the noise. Or one was not kept."""
    rows = np.ones((16, 8), np.float32)
    even, uneven = of_rows(rows), of_rows(rows * np.array([[2]] + 15 * [[1]], np.float32))
    assert static_scale(even) == np.float32(1 / 127)
    assert static_scale(replace(even, lowest=even.lowest * np.float32(-1.4))) == np.float32(np.float32(1.4) / 127)
    assert static_scale(uneven) is None
    assert static_scale(replace(even, highest=even.highest * 2)) is None
    assert static_scale(of_rows(rows * 0)) is None


def test_the_noise_of_row_scales_is_the_mean_of_their_squares() -> None:
    """Half the rows reach 1, half 1/4: 1 / (17 / 32) is 1.9 times the noise; by the mean reach it were 2.6 times."""
    rows = np.ones((16, 8), np.float32) * np.array([[1]] * 8 + [[0.25]] * 8, np.float32)
    assert static_scale(of_rows(rows)) == np.float32(1 / 127)


def test_constant_scales_leave_the_function_and_the_company_alone(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every layer behind a normalisation, trimmed or not: near fp32 on padded texts, bitwise the same in a batch."""
    monkeypatch.setattr(activation_scale, "MAX_STATIC_NOISE", np.inf)
    smoothed, activations = smooth(*fit(make_checkpoint()))
    ids = np.random.default_rng(0).integers(1, 64, (4, 30))
    mask = (np.arange(30) < np.array([30, 12, 5, 1])[:, None]).astype(np.int64)
    for model, rounded in (
        (smoothed, quantise(smoothed, activations)),
        (prune_to_first_token(smoothed), quantise(prune_to_first_token(smoothed), with_split_layers(activations))),
    ):
        constant = [node for node in rounded.graph.node if node.op_type == "QuantizeLinear" and not node.attribute]
        assert len(constant) == 4  # of two layers, one product of attention and one of the feed-forward each
        first, second = (run(graph, ids * mask, mask) for graph in (model, rounded))
        real = mask[:, : first.shape[1]].astype(bool)
        cosines = (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
        assert cosines[real].min() > 0.999
        alone = np.concatenate([run(rounded, ids[place : place + 1]) for place in range(4)])
        np.testing.assert_array_equal(run(rounded, ids), alone)
