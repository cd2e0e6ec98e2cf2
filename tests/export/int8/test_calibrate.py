"""calibrate.py, calibration_texts.py and smooth.py, compared with numpy."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from safetensors.numpy import load_file

from embedge import InputValueError
from embedge_export.graph.encoder import build_graph
from embedge_export.graph.linear import linear_layers
from embedge_export.int8.calibrate import calibrate
from embedge_export.int8.calibration_texts import calibration_texts
from embedge_export.int8.moments import Activations
from embedge_export.int8.quantise import quantise_rows
from embedge_export.int8.smooth import smooth, smoothing_factors
from embedge_export.verify.passages import passages, questions
from fitted import TEXTS, checkpoint_of, fit, run
from linear_graphs import of_rows

MakeCheckpoint = Callable[..., Path]
Floats = NDArray[np.float32]


def test_smoothing_factors_remove_most_of_the_noise_of_outlier_channels() -> None:
    """The noise is measured with rows and columns that numpy rounds, and compared with no smoothing."""
    random = np.random.default_rng(5)
    rows, weight = (random.standard_normal(shape).astype(np.float32) for shape in ((2000, 48), (48, 32)))
    rows[:, :2] *= 40
    covariance = np.cov(rows.T).astype(np.float32)
    factors = smoothing_factors(of_rows(rows, covariance=covariance), weight)

    def noise(factors: Floats) -> float:
        (x, x_step), (w, w_step) = (quantise_rows(table) for table in (rows / factors, (weight * factors[:, None]).T))
        return float(np.square((x * x_step[:, None]) @ (w * w_step[:, None]).T - rows @ weight).mean())

    assert noise(factors) < 0.2 * noise(np.ones(48, np.float32))


def test_calibration_statistics_are_numpys(make_checkpoint: MakeCheckpoint) -> None:
    """The statistics of the normalised embeddings, over all tokens of all texts."""
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
    """With outlier channels, each element stays within 1e-5, with and without padding."""
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


def test_smoothed_activations_are_those_of_the_smoothed_graph(make_checkpoint: MakeCheckpoint) -> None:
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


def test_the_texts_of_verify_are_not_calibration_texts() -> None:
    lines = set(calibration_texts()[0])
    assert len(lines) == 290
    assert not lines & {text for passage in passages() for text in (passage.title, passage.text, passage.joined)}
    assert not lines & {question.text for question in questions()}
    assert sorted(question.answer for question in questions()) == sorted(passage.id for passage in passages())


def test_range_texts_change_the_range_alone(make_checkpoint: MakeCheckpoint) -> None:
    """Calibration on texts of one kind must not clip others, so the range is also that of texts of other kinds."""
    folder = make_checkpoint()
    model = build_graph(checkpoint_of(folder))

    def fit_to(texts: list[str], range_texts: list[str]) -> Mapping[str, Activations]:
        return calibrate(model, texts, tokenizer=folder / "tokenizer.json", max_tokens=64, range_texts=range_texts)

    narrow, wide, both = fit_to(TEXTS[:1], []), fit_to(TEXTS, []), fit_to(TEXTS[:1], TEXTS[1:])
    for name, found in both.items():
        np.testing.assert_array_equal(found.rows, narrow[name].rows)
        np.testing.assert_array_equal(found.covariance, narrow[name].covariance)
        np.testing.assert_allclose(found.highest, wide[name].highest, atol=1e-6)
        np.testing.assert_allclose(found.lowest, wide[name].lowest, atol=1e-6)
        assert (found.highest > narrow[name].highest).any()


def test_a_users_calibration_file_is_read_and_recorded(tmp_path: Path) -> None:
    """It may be lines or JSON lines; empty texts are left out."""
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
