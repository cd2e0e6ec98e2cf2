"""Real providers other than the CPU's and CUDA: the same values as the CPU, or an error that says what to do.

Each is in a package of its own, so each test skips but in an environment with that package:
onnxruntime-openvino runs on every x86-64 CPU. onnxruntime-webgpu needs a GPU, or Mesa's lavapipe and VK_DRIVER_FILES.
onnxruntime-migraphx needs an AMD GPU; where there is none, only its errors are tested.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from embedge import Bundle, Embedder, ProviderError
from embedge.bundle.manifest import BATCH, HIDDEN, TOKENS, Precision
from embedge.inference.providers import CPU_ONLY, Provider
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch

OPENVINO = "OpenVINOExecutionProvider"
WEBGPU = "WebGpuExecutionProvider"
MIGRAPHX = "MIGraphXExecutionProvider"
WIDTH = 8


def provider(name: str) -> Provider:
    if name not in ort.get_available_providers():
        pytest.skip(f"needs an ONNX Runtime with {name}")
    return Provider(name)


@pytest.fixture
def plain_graph(tmp_path: Path) -> Path:
    """One layer of an encoder with one head, of ONNX's own operators only, as optimum traces it."""
    pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {
        "table": random.normal(size=(64, WIDTH)),
        "weight": random.normal(size=(WIDTH, WIDTH)),
        "gain": random.normal(size=WIDTH),
        "bias": random.normal(size=WIDTH),
        "one": np.array(1.0),
        "lowest": np.array(-1e4),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("MatMul", ["words", "weight"], ["query"]),
        helper.make_node("Transpose", ["words"], ["key"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["query", "key"], ["scores"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "real"], ["padding"]),
        helper.make_node("Mul", ["padding", "lowest"], ["added"]),
        helper.make_node("Unsqueeze", ["added", "axis"], ["added_to_all"]),
        helper.make_node("Add", ["scores", "added_to_all"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["attention"], axis=-1),
        helper.make_node("MatMul", ["attention", "words"], ["attended"]),
        helper.make_node("Gelu", ["attended"], ["active"]),
        helper.make_node("Add", ["active", "words"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "gain", "bias"], [HIDDEN], axis=-1),
    ]
    sizes = ["batch", "sequence"]
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info(name, TensorProto.INT64, sizes) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(HIDDEN, TensorProto.FLOAT, [*sizes, WIDTH])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
        + [numpy_helper.from_array(np.array([1]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("name", [OPENVINO, WEBGPU, MIGRAPHX])
def test_a_graph_of_onnx_s_own_operators_gives_the_cpu_s_values(name: str, plain_graph: Path) -> None:
    """Padded batches, too, and no node but those of shapes is left to the CPU: the session opens."""
    outputs = {HIDDEN: (BATCH, TOKENS, WIDTH)}
    preferred = (provider(name),)
    try:
        session = Session(plain_graph, threads=1, providers=preferred, outputs=outputs, run_as_is=False)
    except ProviderError as error:
        if "adapter" in str(error) or "libmigraphx" in str(error):
            pytest.skip(f"needs a device for {name}: {error}")
        raise
    on_cpu = Session(plain_graph, threads=1, providers=CPU_ONLY, outputs=outputs, run_as_is=False)
    random = np.random.default_rng(1)
    for rows, tokens in [(1, 1), (2, 7), (3, 8), (5, 40)]:
        ids = random.integers(0, 64, (rows, tokens))
        counts = random.integers(1, tokens + 1, rows)
        for batch in (TokenBatch(range(rows), ids), TokenBatch(range(rows), ids, counts)):
            found, expected = (one.run(batch, HIDDEN)[batch.mask == 1] for one in (session, on_cpu))
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_openvino_names_the_operator_that_it_lacks_and_the_export_that_works(tiny_bundle: Bundle) -> None:
    with pytest.raises(
        ProviderError,
        match=rf"{OPENVINO} cannot open .*model\.onnx \(OpenVINO does not .*com\.microsoft\.MultiHeadAttention\); "
        r"run `embedge export .* --exporter optimum -o .*tiny-optimum --precision fp32`, then load .*tiny-optimum",
    ):
        Embedder(tiny_bundle.path, precision="fp32", providers=[provider(OPENVINO).name])


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("name", [OPENVINO, WEBGPU, MIGRAPHX])
def test_a_native_graph_gives_no_vectors_but_right_ones(name: str, precision: Precision, tiny_bundle: Bundle) -> None:
    """OpenVINO and WebGPU lack what the graph needs; without a device they do not start. Later versions may run it."""
    names = [provider(name).name]
    texts = ["the cat sat on the mat and ran far away over the blue river stone", "a dog"]
    expected = Embedder(tiny_bundle.path, precision=precision).encode(texts)
    try:
        vectors = Embedder(tiny_bundle.path, precision=precision, providers=names).encode(texts)
    except ProviderError as error:
        message = str(error)
    else:
        message = name
        assert (vectors * expected).sum(axis=1).min() > 0.9999
    assert name in message
    assert "\n" not in message
