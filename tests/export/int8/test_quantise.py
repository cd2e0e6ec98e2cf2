"""calibrate.py, smooth.py, rounding.py and quantise.py, against numpy's own arithmetic."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import erf, sqrt
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from safetensors.numpy import load_file

from embedge import InputValueError
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.graph.builder import Builder
from embedge_export.graph.encoder import build_graph
from embedge_export.graph.first_token import keep_first_token, with_parts
from embedge_export.graph.linear import linear_layers
from embedge_export.int8 import row_scale
from embedge_export.int8.attention_kernel import LONG
from embedge_export.int8.calibrate import Activations, calibrate
from embedge_export.int8.calibration_texts import calibration_texts
from embedge_export.int8.quantise import quantise, quantise_rows
from embedge_export.int8.rounding import PAIR_LIMIT, limit_pairs, round_weight
from embedge_export.int8.row_scale import GELU_FLOOR, choose_zero_point, constant_scale
from embedge_export.int8.smooth import choose_scales, smooth
from embedge_export.verify.passages import passages, questions

MakeCheckpoint = Callable[..., Path]
Floats = NDArray[np.float32]

TEXTS = ["the cat sat on the mat", "a dog ran far away", "how do i bake bread ?", "blue river stone", "cats running"]
# Rows as they come, and as they should not: zeros, one huge outlier, subnormals, all the same.
_ELEMENT = st.one_of(
    st.floats(-8, 8, width=32),
    st.sampled_from([0.0, 1e6, -1e6, 1e-42, -1e-42, 1.0]),
    st.floats(-(2**-126), 2**-126, width=32),
)
MATRICES = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=_ELEMENT)


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def fit(folder: Path) -> tuple[ModelProto, Mapping[str, Activations]]:
    """The float32 graph of a checkpoint, and its activations on TEXTS."""
    model = build_graph(checkpoint_of(folder))
    return model, calibrate(model, TEXTS * 7, tokenizer=folder / "tokenizer.json", max_tokens=64)


def run(model: ModelProto, ids: NDArray[np.int64], mask: NDArray[np.int64] | None = None) -> Floats:
    mask = np.ones_like(ids) if mask is None else mask
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    hidden: Floats = session.run(
        None, {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask}
    )[0]
    return hidden


def linear_model(weight: Floats, bias: Floats, *, gelu: bool) -> ModelProto:
    """Rows -> [Gelu ->] MatMul -> Add: one linear layer, named as the exporter names them."""
    b = Builder()
    rows = b.op("Gelu", ["rows"], name="active") if gelu else "rows"
    product = b.op("MatMul", [rows, b.constant("layer.weight", weight)], name="layer")
    b.op("Add", [product, b.constant("layer.bias", bias)], name="out")
    model = b.model({"out": ["n", weight.shape[1]]})
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", weight.shape[0]]))
    return model


def normalised_model(weight: Floats, bias: Floats) -> ModelProto:
    """Rows -> LayerNormalization of no gain and no bias -> MatMul -> Add."""
    b, inputs = Builder(), len(weight)
    gain, none = (b.constant(name, np.full(inputs, value, np.float32)) for name, value in (("gain", 1), ("none", 0)))
    rows = b.op("LayerNormalization", ["rows", gain, none], axis=-1, epsilon=0.0, name="normal")
    b.op(
        "Add",
        [b.op("MatMul", [rows, b.constant("layer.weight", weight)], name="layer"), b.constant("layer.bias", bias)],
        name="out",
    )
    model = b.model({"out": ["n", weight.shape[1]]})
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", inputs]))
    return model


def plain(inputs: int) -> Activations:
    """Activations around zero, of channels that have nothing to do with each other."""
    return of_rows(np.eye(inputs, dtype=np.float32), mean=np.zeros(inputs, np.float32))


def of_rows(rows: Floats, *, mean: Floats | None = None, covariance: Floats | None = None) -> Activations:
    """Activations of rows that are all there are, of channels that have nothing to do with each other."""
    return Activations(
        mean=rows.mean(axis=0) if mean is None else mean,
        covariance=np.eye(rows.shape[1], dtype=np.float32) if covariance is None else covariance,
        rows=rows,
        lowest=rows.min(axis=0),
        highest=rows.max(axis=0),
    )


def run_rows(model: ModelProto, rows: Floats) -> Floats:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Floats = session.run(None, {"rows": rows})[0]
    return found


def test_a_linear_layer_is_the_formula_for_any_rows() -> None:
    """Zero rows, one huge outlier, subnormals, constant rows: ONNX Runtime's result is numpy's, row by row."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((12, 5)).astype(np.float32)
    model = quantise(linear_model(weight, np.zeros(5, np.float32), gelu=False), {"layer": plain(12)})
    codes, scales = round_weight(weight, np.eye(12, dtype=np.float32))
    rounded = codes * scales.astype(np.float64)

    @given(arrays(np.float32, st.tuples(st.integers(1, 9), st.just(12)), elements=_ELEMENT))
    def check(rows: Floats) -> None:
        steps = np.maximum(np.abs(rows).max(axis=1, keepdims=True).astype(np.float64) / 127, 1e-12)
        # A code is a rounding: ONNX Runtime's may differ by one from numpy's where a quotient ends in .5.
        loosely = np.abs(rounded).sum(axis=0) * steps * 0.5001 + 1e-12
        assert (np.abs(run_rows(model, rows) - rows @ rounded) <= loosely + 1e-5 * np.abs(rows @ rounded)).all()

    check()


def test_rows_of_a_batch_do_not_know_each_other() -> None:
    """One huge row changes no bit of the others."""
    random = np.random.default_rng(1)
    weight, rows = (random.standard_normal(shape).astype(np.float32) for shape in ((32, 16), (9, 32)))
    model = quantise(linear_model(weight, np.zeros(16, np.float32), gelu=False), {"layer": plain(32)})
    alone = np.concatenate([run_rows(model, row[None]) for row in rows])
    rows[4] *= 1e6
    np.testing.assert_array_equal(np.delete(run_rows(model, rows), 4, 0), np.delete(alone, 4, 0))


def test_gelus_rows_are_unsigned_around_one_zero_point() -> None:
    """Codes of 255 steps, a few of them below zero, then the formula."""
    random = np.random.default_rng(2)
    weight, rows = (random.standard_normal(shape).astype(np.float32) for shape in ((64, 8), (20, 64)))
    bias = random.standard_normal(8).astype(np.float32)
    found = plain(64)
    model = quantise(linear_model(weight, bias, gelu=True), {"layer": found})
    codes, scales = round_weight(weight, np.eye(64, dtype=np.float32))
    active = rows * 0.5 * (1 + np.vectorize(erf)(rows / sqrt(2)))
    zero = choose_zero_point(found.rows.max(axis=1))
    steps = np.maximum(active.max(axis=1, keepdims=True) / (255 - zero), float(GELU_FLOOR) / zero)
    assert (np.rint(active / steps) + zero).min() >= 0
    assert (np.rint(active / steps) + zero).max() <= 255
    rounded = np.rint(active / steps) * steps
    np.testing.assert_allclose(run_rows(model, rows), rounded @ (codes * scales.astype(np.float64)) + bias, atol=1e-4)


def test_what_rounding_moves_the_mean_by_is_in_the_bias_of_a_constant_product() -> None:
    """Of rows that are the mean, behind a normalisation: half ones, half minus ones, which have exact codes."""
    weight = np.random.default_rng(4).standard_normal((64, 8)).astype(np.float32)
    rows = np.repeat(np.array([[1, -1]], np.float32), 32, axis=1)
    model = quantise(normalised_model(weight, np.ones(8, np.float32)), {"layer": of_rows(rows)})
    codes, scales = round_weight(weight, np.eye(64, dtype=np.float32))
    assert np.abs(rows @ (codes * scales) - rows @ weight).max() > 0.02
    np.testing.assert_allclose(run_rows(model, rows), rows @ weight + 1, atol=1e-4)


def test_what_rounding_moves_the_mean_by_is_in_the_bias() -> None:
    """Of rows that are the mean, and have exact codes, the product is that of the float32 weight."""
    weight = np.random.default_rng(4).standard_normal((64, 8)).astype(np.float32)
    rows = np.full((1, 64), 127 / 32, np.float32)
    found = of_rows(rows)
    model = quantise(linear_model(weight, np.ones(8, np.float32), gelu=False), {"layer": found})
    codes, scales = round_weight(weight, found.covariance)
    assert np.abs(rows @ (codes * scales) - rows @ weight).max() > 0.1
    np.testing.assert_allclose(run_rows(model, rows), rows @ weight + 1, atol=1e-3)


def test_chosen_scales_take_most_of_the_noise_of_outlier_channels() -> None:
    """Of rows and columns rounded by numpy, against no scales at all."""
    random = np.random.default_rng(5)
    rows, weight = (random.standard_normal(shape).astype(np.float32) for shape in ((2000, 48), (48, 32)))
    rows[:, :2] *= 40
    covariance = np.cov(rows.T).astype(np.float32)
    scales = choose_scales(of_rows(rows, covariance=covariance), weight)

    def noise(scales: Floats) -> float:
        (x, x_step), (w, w_step) = (quantise_rows(table) for table in (rows / scales, (weight * scales[:, None]).T))
        return float(np.square((x * x_step[:, None]) @ (w * w_step[:, None]).T - rows @ weight).mean())

    assert noise(scales) < 0.2 * noise(np.ones(48, np.float32))


def test_gelu_is_never_below_its_floor() -> None:
    lowest = min(x * 0.5 * (1 + erf(x / sqrt(2))) for x in np.linspace(-2, 0, 20001))
    assert -GELU_FLOOR < lowest < -0.1699


@given(MATRICES)
def test_a_row_of_a_table_is_within_half_a_step_of_its_codes(table: Floats) -> None:
    codes, scales = quantise_rows(table)
    assert np.abs(codes.astype(np.int32)).max() <= 127
    error = np.abs(codes * scales[:, None].astype(np.float64) - table)
    assert (error <= scales[:, None] * 0.5001).all()


@given(MATRICES, st.integers(0, 9))
def test_no_pair_of_codes_can_saturate(weight: Floats, seed: int) -> None:
    """What ``vpmaddubsw`` adds in 16 bits fits, for the largest rows there are and any weight."""
    latent = np.random.default_rng(seed).standard_normal((4, len(weight)))
    codes, scales = round_weight(weight, (latent.T @ latent).astype(np.float32))
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
    kept = ~(same_sign & (sums > PAIR_LIMIT))
    for part in (0, 1):
        np.testing.assert_array_equal(limited[part:even:2][kept], codes[part:even:2][kept])


def test_rounding_knows_which_errors_cancel() -> None:
    """On correlated inputs the product's error is a fraction of that of rounding to nearest, pairs and all."""
    random = np.random.default_rng(3)
    mixed = random.standard_normal((4000, 24)) @ random.standard_normal((24, 96)) + 0.1 * random.standard_normal(
        (4000, 96)
    )
    weight = random.standard_normal((96, 48)).astype(np.float32)
    codes, scales = round_weight(weight, np.cov(mixed.T).astype(np.float32))
    nearest = np.abs(weight).max(axis=0) / 127
    errors = [mixed @ (rough - weight) for rough in (codes * scales, np.rint(weight / nearest) * nearest)]
    assert np.square(errors[0]).mean() < 0.5 * np.square(errors[1]).mean()


def test_calibration_sums_are_numpys(make_checkpoint: MakeCheckpoint) -> None:
    """Mean and covariance of the embeddings' normalised output, over all tokens of all texts."""
    folder = make_checkpoint()
    model, activations = fit(folder)
    first = linear_layers(model)[0]
    assert first.name == "encoder.layer.0.attention.qkv"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.output[0].CopyFrom(helper.make_tensor_value_info(first.input[0], TensorProto.FLOAT, None))
    rows = np.concatenate([run(probe, np.array([tokenizer.encode(text).ids]))[0] for text in TEXTS])
    found = activations[first.name]
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T, bias=True), atol=1e-5)
    np.testing.assert_allclose(found.lowest, rows.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.highest, rows.max(axis=0), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_smoothing_is_exact_algebra(make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path, seed: int) -> None:
    """Every element of a graph with outlier channels stays within 1e-5, padded or not."""
    random, tensors = np.random.default_rng(seed), load_file(tiny_checkpoint / "model.safetensors")
    for name in tensors:
        if name.endswith("LayerNorm.weight") and name != "encoder.layer.1.output.LayerNorm.weight":
            tensors[name][random.integers(0, 32, 2)] *= 12
    model, activations = fit(make_checkpoint(tensors=tensors))
    smoothed, _ = smooth(model, activations)
    ids = random.integers(1, 64, (4, 24))
    mask = (np.arange(24) < np.array([24, 24, 9, 1])[:, None]).astype(np.int64)
    for padded in (None, mask):
        np.testing.assert_allclose(run(smoothed, ids, padded), run(model, ids, padded), atol=1e-5)


def test_smoothed_activations_are_what_the_smoothed_graph_has(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    model, activations = fit(folder)
    smoothed, after = smooth(model, activations)
    again = calibrate(smoothed, TEXTS * 7, tokenizer=folder / "tokenizer.json", max_tokens=64)
    for name, found in again.items():
        np.testing.assert_allclose(after[name].mean, found.mean, atol=1e-5)
        np.testing.assert_allclose(after[name].covariance, found.covariance, atol=1e-4)
        np.testing.assert_allclose(after[name].rows, found.rows, atol=1e-4)
        np.testing.assert_allclose(after[name].lowest, found.lowest, atol=1e-4)
        np.testing.assert_allclose(after[name].highest, found.highest, atol=1e-4)


def test_int8_is_the_fp32_graph_on_rounded_numbers(make_checkpoint: MakeCheckpoint) -> None:
    model, activations = fit(make_checkpoint())
    rounded = quantise(*smooth(model, activations))
    ids = np.random.default_rng(0).integers(1, 64, (4, 30))
    mask = (np.arange(30) < np.array([30, 12, 5, 1])[:, None]).astype(np.int64)
    first, second = (run(graph, ids * mask, mask).reshape(-1, 32) for graph in (model, rounded))
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("tokens", [LONG - 1, LONG, 600])
def test_attention_is_the_same_by_either_kernel(make_checkpoint: MakeCheckpoint, tokens: int) -> None:
    """Texts on both sides of where it changes: near the fp32 graph, and bitwise the same alone and with company."""
    model, activations = fit(make_checkpoint(config={"max_position_embeddings": 600}))
    rounded = quantise(*smooth(model, activations))
    ids = np.random.default_rng(0).integers(1, 64, (3, tokens))
    first, second = (run(graph, ids).reshape(-1, 32) for graph in (model, rounded))
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert cosines.min() > 0.999
    alone = np.concatenate([run(rounded, ids[place : place + 1]) for place in range(3)])
    np.testing.assert_array_equal(run(rounded, ids), alone)


def test_long_texts_do_not_keep_all_scores_of_attention(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """What ran, by ONNX Runtime's own profile."""
    model, activations = fit(make_checkpoint(config={"max_position_embeddings": 600}))
    rounded = quantise(*smooth(model, activations))
    for tokens, expected in ((LONG - 1, "Attention"), (LONG, "MultiHeadAttention")):
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / str(tokens))
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(rounded.SerializeToString(), options, providers=["CPUExecutionProvider"])
        session.run(
            None, {"input_ids": np.ones((1, tokens), np.int64), "attention_mask": np.ones((1, tokens), np.int64)}
        )
        events = json.loads(Path(session.end_profiling()).read_text())
        ran = {event["args"]["op_name"] for event in events if event["cat"] == "Node"}
        assert ran & {"Attention", "MultiHeadAttention"} == {expected}


def test_normalised_rows_of_one_reach_have_one_scale() -> None:
    """The formula, with what is beyond the reach rounded to it; nothing looks for a row's scale or adds a bias."""
    random = np.random.default_rng(6)
    weight, rows = (random.standard_normal(shape).astype(np.float32) for shape in ((48, 8), (40, 48)))
    bias = random.standard_normal(8).astype(np.float32)
    normal = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    seen = np.clip(normal, -2, 2)
    model = quantise(normalised_model(weight, bias), {"layer": of_rows(seen, mean=np.zeros(48, np.float32))})
    codes, scales = round_weight(weight, np.eye(48, dtype=np.float32))
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
    assert constant_scale(even) == np.float32(1 / 127)
    assert constant_scale(replace(even, lowest=even.lowest * np.float32(-1.4))) == np.float32(np.float32(1.4) / 127)
    assert constant_scale(uneven) is None
    assert constant_scale(replace(even, highest=even.highest * 2)) is None
    assert constant_scale(of_rows(rows * 0)) is None


def test_the_noise_of_row_scales_is_the_mean_of_their_squares() -> None:
    """Half the rows reach 1, half 1/4: 1 / (17 / 32) is 1.9 times the noise; by the mean reach it were 2.6 times."""
    rows = np.ones((16, 8), np.float32) * np.array([[1]] * 8 + [[0.25]] * 8, np.float32)
    assert constant_scale(of_rows(rows)) == np.float32(1 / 127)


def test_constant_scales_leave_the_function_and_the_company_alone(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every layer behind a normalisation, trimmed or not: near fp32 on padded texts, bitwise the same in a batch."""
    monkeypatch.setattr(row_scale, "_NOISE", np.inf)
    smoothed, activations = smooth(*fit(make_checkpoint()))
    ids = np.random.default_rng(0).integers(1, 64, (4, 30))
    mask = (np.arange(30) < np.array([30, 12, 5, 1])[:, None]).astype(np.int64)
    for model, rounded in (
        (smoothed, quantise(smoothed, activations)),
        (keep_first_token(smoothed), quantise(keep_first_token(smoothed), with_parts(activations))),
    ):
        constant = [node for node in rounded.graph.node if node.op_type == "QuantizeLinear" and not node.attribute]
        assert len(constant) == 4  # of two layers, one product of attention and one of the feed-forward each
        first, second = (run(graph, ids * mask, mask) for graph in (model, rounded))
        real = mask[:, : first.shape[1]].astype(bool)
        cosines = (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
        assert cosines[real].min() > 0.999
        alone = np.concatenate([run(rounded, ids[place : place + 1]) for place in range(4)])
        np.testing.assert_array_equal(run(rounded, ids), alone)


def test_int8_leaves_no_fp32_weight_behind(make_checkpoint: MakeCheckpoint) -> None:
    model = quantise(*fit(make_checkpoint()))
    assert not [node.name for node in model.graph.node if node.op_type == "MatMul"]
    sizes = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    assert max(size for name, size in sizes.items() if name != "position_embeddings") <= 96


def test_what_verify_measures_on_calibrated_nothing() -> None:
    lines = set(calibration_texts()[0])
    assert len(lines) == 290
    assert not lines & {text for passage in passages() for text in (passage.title, passage.text, passage.joined)}
    assert not lines & {question.text for question in questions()}
    assert sorted(question.answer for question in questions()) == sorted(passage.id for passage in passages())


def test_texts_given_for_the_reach_change_the_extremes_alone(make_checkpoint: MakeCheckpoint) -> None:
    """A narrow calibration must not clip other texts: the reach is also that of texts of other kinds."""
    folder = make_checkpoint()
    model = build_graph(checkpoint_of(folder))

    def fit_to(texts: list[str], reach: list[str]) -> Mapping[str, Activations]:
        return calibrate(model, texts, tokenizer=folder / "tokenizer.json", max_tokens=64, reach=reach)

    narrow, wide, both = fit_to(TEXTS[:1], []), fit_to(TEXTS, []), fit_to(TEXTS[:1], TEXTS[1:])
    for name, found in both.items():
        np.testing.assert_array_equal(found.rows, narrow[name].rows)
        np.testing.assert_array_equal(found.covariance, narrow[name].covariance)
        np.testing.assert_allclose(found.highest, wide[name].highest, atol=1e-6)
        np.testing.assert_allclose(found.lowest, wide[name].lowest, atol=1e-6)
        assert (found.highest > narrow[name].highest).any()


def test_a_users_calibration_file_is_read_and_recorded(tmp_path: Path) -> None:
    """Lines or JSON lines; empty ones do not count."""
    lines, jsonl = tmp_path / "own.txt", tmp_path / "own.jsonl"
    lines.write_text("\n".join(f"text {n}" for n in range(40)) + "\n\n", encoding="utf-8")
    jsonl.write_text("".join(f'{{"text": "text {n}"}}\n' for n in range(40)), encoding="utf-8")
    texts, record = calibration_texts(lines)
    assert (len(texts), record.file, record.texts) == (40, "own.txt", 40)
    assert calibration_texts(jsonl)[1].sha256 == record.sha256
    lines.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(InputValueError, match="has 2 texts; calibration needs at least 32"):
        calibration_texts(lines)
    with pytest.raises(InputValueError, match="no such file"):
        calibration_texts(tmp_path / "missing.txt")
