"""mend_rows.py: rows of 16 bits are nearly exact, do not depend on the batch, and leave the weights alone."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from embedge_export.graph.builder import CONTRIB
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.int8.fuse import why_not_fused
from embedge_export.int8.mend_rows import STEP, SWITCH, int8_linear_layers, with_fine_rows
from embedge_export.int8.mend_shares import choose_layers

WIDTH, OUTPUTS = 64, 32
KINDS = ("dynamic", "low zero point", "static")


def random_rows(*shape: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    rows[..., 3] *= 20  # an outlier, as trained models have
    return rows


def layer_graph(kind: str) -> tuple[ModelProto, NDArray[np.float64]]:
    """A graph ``rows -> last_hidden_state`` of one linear layer, as ``quantise`` writes it; and its exact weight."""
    random = np.random.default_rng(0)
    codes = random.integers(-60, 61, (WIDTH, OUTPUTS)).astype(np.int8)
    scales = random.uniform(0.001, 0.002, OUTPUTS).astype(np.float32)
    zero, static = {"dynamic": (128, 0.0), "low zero point": (14, 0.0), "static": (128, 0.9)}[kind]
    constants = {
        "a.weight.int8": codes,
        "a.scales": scales * np.float32(static or 1),
        "one": np.float32(1),
        "point": np.uint8(zero),
        "static_scale": np.float32(static),
        "axes": np.array([-1]),
        "step": np.float32(1 / (255 - zero) if zero < 128 else 1 / 127),
        "least": np.float32(0.1701 / zero if zero < 128 else 0),
        "bias": np.arange(OUTPUTS, dtype=np.float32) if static else np.zeros(OUTPUTS, np.float32),
    }
    node = helper.make_node
    if static:
        nodes = [
            node("QuantizeLinear", ["rows", "static_scale", "point"], ["a.rows"], name="a.rows"),
            node(
                "MatMulIntegerToFloat",
                ["a.rows", "a.weight.int8", "one", "a.scales", "point", "", "bias"],
                ["last_hidden_state"],
                name="last_hidden_state",
                domain=CONTRIB,
            ),
        ]
    else:
        nodes = [
            node("Abs", ["rows"], ["a.abs"], name="a.abs"),
            node("ReduceMax", ["a.abs", "axes"], ["a.highest"], name="a.highest", keepdims=1),
            node("Mul", ["a.highest", "step"], ["a.step"], name="a.step"),
            node("Max", ["a.step", "least"], ["a.scale"], name="a.scale"),
            node("Shape", ["a.scale"], ["shape"], name="shape"),
            node("Expand", ["point", "shape"], ["points"], name="points"),
            node("QuantizeLinear", ["rows", "a.scale", "points"], ["a.rows"], name="a.rows", axis=-1, block_size=WIDTH),
            node(
                "MatMulIntegerToFloat",
                ["a.rows", "a.weight.int8", "one", "a.scales", "point"],
                ["a.product"],
                name="a.product",
                domain=CONTRIB,
            ),
            node("Mul", ["a.product", "a.scale"], ["last_hidden_state"], name="last"),
        ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", "tokens", WIDTH])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", OUTPUTS])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), codes.astype(np.float64) * scales


def run(model: ModelProto, folder: Path, rows: NDArray[np.float32], **inputs: float) -> NDArray[np.float32]:
    path = folder / "graph.onnx"
    onnx.save(model, path)
    switches = {f"a{SWITCH}": np.array(value, np.float32) for value in inputs.values()}
    return CpuSession(path, optimise=False).run(["last_hidden_state"], {"rows": rows, **switches})[0]


def rows_for(kind: str) -> NDArray[np.float32]:
    rows = random_rows(3, 5, WIDTH)
    return np.maximum(rows, np.float32(-0.17)) if kind == "low zero point" else rows


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_16_bits_are_200_times_as_exact(tmp_path: Path, kind: str) -> None:
    """Against the product in float64. A static scale is even worse: it clips what is beyond its range."""
    model, weight = layer_graph(kind)
    rows = rows_for(kind)
    exact = rows.astype(np.float64) @ weight + (np.arange(OUTPUTS) if kind == "static" else 0)
    before, after = (
        np.abs(run(graph, tmp_path, rows) - exact).mean() for graph in (model, with_fine_rows(model, ["a"]))
    )
    assert before > 0.002
    assert after < before / 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_its_batch(tmp_path: Path, kind: str) -> None:
    model, rows = with_fine_rows(layer_graph(kind)[0], ["a"]), rows_for(kind)
    together = run(model, tmp_path, rows)
    for row in range(len(rows)):
        assert np.array_equal(run(model, tmp_path, rows[row : row + 1]), together[row : row + 1])


@pytest.mark.parametrize("kind", ["dynamic", "low zero point"])
def test_a_switch_turns_the_second_product_off(tmp_path: Path, kind: str) -> None:
    model, rows = layer_graph(kind)[0], rows_for(kind)
    switched = with_fine_rows(model, ["a"], switches=True)
    assert [value.name for value in switched.graph.input] == ["rows", f"a{SWITCH}"]
    assert np.array_equal(run(switched, tmp_path, rows, switch=0), run(model, tmp_path, rows))
    fine = run(with_fine_rows(model, ["a"]), tmp_path, rows)
    assert np.array_equal(run(switched, tmp_path, rows, switch=STEP), fine)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_zeros_give_the_bias(tmp_path: Path, kind: str) -> None:
    """Their scale is 0, and what is divided by it must not stay."""
    model = with_fine_rows(layer_graph(kind)[0], ["a"])
    expected = np.arange(OUTPUTS) if kind == "static" else np.zeros(OUTPUTS)
    np.testing.assert_allclose(run(model, tmp_path, np.zeros((1, 2, WIDTH), np.float32))[0, 0], expected, atol=1e-6)


def test_the_graph_and_the_weights_are_not_changed() -> None:
    model, _ = layer_graph("static")
    before = model.SerializeToString()
    mended = with_fine_rows(model, ["a"])
    assert model.SerializeToString() == before
    assert int8_linear_layers(mended) == int8_linear_layers(model) == ["a"]
    weights = [tensor for tensor in mended.graph.initializer if tensor.data_type == TensorProto.INT8]
    assert [tensor.name for tensor in weights] == ["a.weight.int8"]


def test_the_fused_operators_cannot_express_it() -> None:
    model = with_fine_rows(layer_graph("dynamic")[0], ["a"])
    assert why_not_fused(model) == "1 linear layers have rows of 16 bits, and the operators have 8"


def test_choose_layers_takes_all_for_the_whole_error() -> None:
    assert choose_layers({"a": 0.0, "b": 1.0, "c": 0.0}, 1.0) == ["b", "a", "c"]
