"""The upper-bound benchmark: its graphs compute the same as numpy."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks import upper_bound
from benchmarks.measure.graph_variants import highest_scales, in_blocks, static
from embedge import Bundle
from embedge_export import export
from embedge_export.int8 import activation_scale

Array = NDArray[np.float32]
IDS = np.array([[2, 5, 6, 7, 11, 3], [2, 9, 30, 8, 40, 3]], np.int64)


@pytest.fixture
def model(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelProto:
    """An int8 graph in which every row has its own scale."""
    monkeypatch.setattr(activation_scale, "MAX_STATIC_NOISE", 0)
    loaded: ModelProto = onnx.load(export(tiny_checkpoint, tmp_path / "bundle", verify=False).graph("int8"))
    return loaded


def run(model: ModelProto, ids: NDArray[np.int64], *names: str) -> list[Array]:
    """The tensors ``names`` of a run; the output of the graph by default."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(list(names) or None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return found


def constant(model: ModelProto, name: str) -> NDArray[np.float64]:
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    values: NDArray[np.float64] = numpy_helper.to_array(tensor).astype(np.float64)
    return values


# The products of the first layer, each with its input.
FIRST = "encoder.layer.0"
LAYERS = {
    f"{FIRST}.attention.qkv": "embeddings.LayerNorm",
    f"{FIRST}.attention.output.dense": f"{FIRST}.attention.self",
    f"{FIRST}.intermediate.dense": f"{FIRST}.attention.output.LayerNorm",
    f"{FIRST}.output.dense": f"{FIRST}.activation",
}


def product(model: ModelProto, layer: str) -> list[Array]:
    """The input and the output of a layer, with its bias."""
    end = "" if layer.endswith(".qkv") else ".plus_bias"
    return run(model, IDS, LAYERS[layer], f"{layer}{end}")


def exact_weight(model: ModelProto, layer: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The dequantised weight and the bias of a layer of the int8 graph."""
    weight = constant(model, f"{layer}.weight.int8") * constant(model, f"{layer}.weight.scales")
    if not layer.endswith(".qkv"):
        return weight, constant(model, f"{layer}.bias")
    at, none = layer.removesuffix("qkv"), np.zeros(weight.shape[1] // 3)
    return weight, np.concatenate(
        [constant(model, f"{at}self.query.bias"), none, constant(model, f"{at}self.value.bias")]
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_a_static_product_is_numpys_of_rows_rounded_to_the_one_scale(model: ModelProto, layer: str) -> None:
    scale = highest_scales(model, [IDS])[layer] / 2  # so that some values are clipped
    given, found = product(static(model, {layer: scale}), layer)
    weight, bias = exact_weight(model, layer)
    (node,) = (node for node in model.graph.node if node.name == f"{layer}.product")
    zero_point = constant(model, node.input[4])
    codes = np.clip(np.rint(given / scale) + zero_point, 0, 255) - zero_point
    np.testing.assert_allclose(found, codes * scale @ weight + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [32, 128])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_product_in_blocks_errs_by_no_more_than_the_rounding_of_its_rows(
    model: ModelProto, layer: str, size: int
) -> None:
    given, found = product(in_blocks(model, size), layer)
    weight, bias = exact_weight(model, layer)
    steps = [np.abs(block).max(-1, keepdims=True) / 127 for block in np.split(given, max(1, len(weight) // size), -1)]
    variance = np.repeat(np.concatenate(steps, -1), min(size, len(weight)), -1) ** 2 / 12  # of a rounded value
    errors = (found - (given @ weight + bias)) / np.sqrt(variance @ weight**2)
    assert np.sqrt(np.square(errors).mean()) < 1.15


def test_the_true_scales_of_a_single_row_change_nothing(model: ModelProto) -> None:
    one, other = IDS[:1, :1], IDS[:1, 1:2]
    fixed = static(model, highest_scales(model, [one]))
    np.testing.assert_allclose(run(fixed, one)[0], run(model, one)[0], atol=1e-5)
    assert np.abs(run(fixed, other)[0] - run(model, other)[0]).max() > 1e-4


def test_variants_give_fp32s_vectors_without_what_they_are_to_do_without(
    model: ModelProto, tiny_bundle: Bundle
) -> None:
    graphs = upper_bound.variants(model, highest_scales(model, [IDS]))
    (exact,) = run(onnx.load(tiny_bundle.graph("fp32")), IDS)
    for name, graph in graphs.items():
        (found,) = run(graph, IDS)
        cosines = (found * exact).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(exact, axis=-1)
        assert cosines.min() > 0.999, name
    kinds = {name: Counter(node.op_type for node in graph.graph.node) for name, graph in graphs.items()}
    products = kinds["as exported"]["MatMulIntegerToFloat"]
    assert products == 9  # four in each of two layers, and the last layer's query apart from its keys and values
    for name in ("static", "nbits-32", "nbits-128"):
        assert not kinds[name].keys() & {"Abs", "ReduceMax", "Max", "Expand"}, name
        # Two biases of attention and one of every other product; a product's scale for each row.
        assert kinds["as exported"]["Add"] - kinds[name]["Add"] == 2 * 2 + 2 * 3
        assert kinds["as exported"]["Mul"] - kinds[name]["Mul"] == 2 * products  # and one of the scale itself
    assert kinds["nbits-32"]["MatMulNBits"] == kinds["static"]["MatMulIntegerToFloat"] == products
    assert kinds["static-ffn-down"]["Max"] == 0
    assert kinds["static-ffn-down"]["Abs"] == kinds["as exported"]["Abs"]
    assert kinds["static-but-ffn-down"]["Max"] == kinds["static-qkv"]["Max"] == 2


def test_end_to_end_in_small(small_data: Path, make_checkpoint: Callable[..., Path]) -> None:
    out = small_data / "out.json"
    arguments = ["-m", str(make_checkpoint(pooling="mean")), "--rounds", "3", "--texts", "4", "--json", str(out)]
    done = CliRunner().invoke(upper_bound.main, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert list(result["variants"]["static"]["milliseconds"]) == ["1 x 10", "16 x 16"]  # it reads 64 tokens
    assert set(result["variants"]["as exported"]["times_faster"].values()) == {1}
    assert all(ratio > 1 for ratio in result["products_only_times_faster"].values())
    assert all(0.99 < found["cosine_min"] <= found["cosine_mean"] for found in result["variants"].values())
    assert "| nbits-128 " in done.output
