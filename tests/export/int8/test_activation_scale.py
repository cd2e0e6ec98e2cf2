"""activation_scale.py: which layers have a static scale, and the zero point behind GELU."""

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


def test_gelu_is_never_below_the_recorded_minimum() -> None:
    lowest = min(x * 0.5 * (1 + erf(x / sqrt(2))) for x in np.linspace(-2, 0, 20001))
    assert -GELU_DEPTH < lowest < -0.1699


def test_normalised_rows_of_one_range_have_a_static_scale() -> None:
    """The result is the formula's, with values beyond the range clipped. No node computes a scale or adds a bias."""
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


def test_rows_of_different_ranges_have_dynamic_scales() -> None:
    """One of 16 rows is twice as large: 4 / (19 / 16) is 3.4 times the noise. Or a row that was not recorded is."""
    rows = np.ones((16, 8), np.float32)
    even, uneven = of_rows(rows), of_rows(rows * np.array([[2]] + 15 * [[1]], np.float32))
    assert static_scale(even) == np.float32(1 / 127)
    assert static_scale(replace(even, lowest=even.lowest * np.float32(-1.4))) == np.float32(np.float32(1.4) / 127)
    assert static_scale(uneven) is None
    assert static_scale(replace(even, highest=even.highest * 2)) is None
    assert static_scale(of_rows(rows * 0)) is None


def test_the_noise_of_dynamic_scales_is_the_mean_of_their_squares() -> None:
    """Half of the rows are 1, half 1/4: 1 / (17 / 32) is 1.9 times the noise. The square of the mean would give 2.6."""
    rows = np.ones((16, 8), np.float32) * np.array([[1]] * 8 + [[0.25]] * 8, np.float32)
    assert static_scale(of_rows(rows)) == np.float32(1 / 127)


def test_static_scales_keep_the_function_and_do_not_depend_on_the_batch(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all layers that may have one, pruned or not: near fp32 when padded, bitwise the same in a batch."""
    monkeypatch.setattr(activation_scale, "MAX_STATIC_NOISE", np.inf)
    smoothed, activations = smooth(*fit(make_checkpoint()))
    ids = np.random.default_rng(0).integers(1, 64, (4, 30))
    mask = (np.arange(30) < np.array([30, 12, 5, 1])[:, None]).astype(np.int64)
    for model, rounded in (
        (smoothed, quantise(smoothed, activations)),
        (prune_to_first_token(smoothed), quantise(prune_to_first_token(smoothed), with_split_layers(activations))),
    ):
        static = [node for node in rounded.graph.node if node.op_type == "QuantizeLinear" and not node.attribute]
        assert len(static) == 4  # in each of two layers, one of attention and one of the feed-forward block
        first, second = (run(graph, ids * mask, mask) for graph in (model, rounded))
        real = mask[:, : first.shape[1]].astype(bool)
        cosines = (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
        assert cosines[real].min() > 0.999
        alone = np.concatenate([run(rounded, ids[place : place + 1]) for place in range(4)])
        np.testing.assert_array_equal(run(rounded, ids), alone)
