"""session.py with device/pool.py: hidden states that stay on the device. A CPU stands in for the card."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, BundleError, Embedder
from embedge.bundle.manifest import BATCH, HIDDEN, READ_TOKENS, TOKEN_VECTORS, TOKEN_WEIGHTS, TOKENS, Pooling, Shape
from embedge.inference import session as session_module
from embedge.inference.device.pool import DevicePool
from embedge.inference.providers import CPU, CPU_ONLY
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch

pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from constant_graph import graph_of

WIDTH = 4
BATCH_OF_2 = TokenBatch(range(2), np.array([[2, 5, 3], [2, 6, 0]]), np.array([3, 2]))


@pytest.fixture
def cpu_as_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CUDA", CPU)


def open_session(graph: Path, pooling: Pooling | None, shape: Shape = (BATCH, READ_TOKENS, WIDTH)) -> Session:
    return Session(graph, threads=1, providers=CPU_ONLY, outputs={HIDDEN: shape}, run_as_is=True, pooling=pooling)


@pytest.mark.parametrize("pooling", ["mean", "lasttoken"])
def test_an_embedder_gives_the_same_vectors(
    export: Callable[..., Bundle],
    make_checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pooling: str,
) -> None:
    folder = tmp_path / "bundle"
    export(make_checkpoint(pooling, pooling=pooling), folder, precisions=("fp32",), verify=False)
    texts = ["the cat", "a dog sat on a stone", "the dog ran far . " * 5]
    expected = Embedder(folder).encode(texts)
    pooled: list[Pooling] = []
    opened = DevicePool.__init__

    def note(self: DevicePool, session: object, provider: object, pooling: Pooling) -> None:
        pooled.append(pooling)
        opened(self, session, provider, pooling)  # type: ignore[arg-type]

    monkeypatch.setattr(session_module, "CUDA", CPU)
    monkeypatch.setattr(DevicePool, "__init__", note)
    np.testing.assert_allclose(Embedder(folder).encode(texts), expected, atol=1e-6)
    assert set(pooled) == {"last" if pooling == "lasttoken" else pooling}


def test_other_outputs_come_from_the_run_that_is_pooled(
    export: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="the heads of the checkpoint are written with torch")
    from seeded_roberta import write_roberta

    checkpoint = write_roberta(tmp_path / "checkpoint", rerank=False)
    folder = export(checkpoint, tmp_path / "bundle", precisions=("fp32",), verify=False).path
    texts = ["how do I bake bread?", "a bike has a flat tyre", "bread " * 40]
    plain = Embedder(folder)
    expected = plain.encode_all(texts, multi_vector=True)
    runs: list[list[str]] = []
    run = DevicePool.run

    def note(self: DevicePool, batch: TokenBatch, others: Sequence[str]) -> Any:
        runs.append(list(others))
        return run(self, batch, others)

    monkeypatch.setattr(session_module, "CUDA", CPU)
    monkeypatch.setattr(DevicePool, "run", note)
    found = Embedder(folder).encode_all(texts, multi_vector=True)
    assert runs == 3 * [[TOKEN_WEIGHTS, TOKEN_VECTORS]]  # texts of three lengths, each run once
    assert found.dense is not None
    assert expected.dense is not None
    np.testing.assert_allclose(found.dense, expected.dense, atol=1e-6)
    for one, other in zip(found, expected, strict=True):
        assert one.sparse is not None
        assert other.sparse is not None
        assert one.sparse.as_dict() == other.sparse.as_dict()
        np.testing.assert_array_equal(one.multi_vector, other.multi_vector)


@pytest.mark.usefixtures("cpu_as_card")
def test_a_graph_of_one_token_is_run_as_ever(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CLS-pooled graph is pruned to it: nothing is to be saved."""
    monkeypatch.delattr(DevicePool, "__init__")
    session = open_session(tiny_bundle.graph("fp32"), "cls", (BATCH, READ_TOKENS, 32))
    assert session.run(BATCH_OF_2, HIDDEN).shape == (2, 1, 32)


@pytest.mark.usefixtures("cpu_as_card")
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, WIDTH), (BATCH, TOKENS, WIDTH)),  # one row for many texts
        ((2, 2, WIDTH), (BATCH, TOKENS, WIDTH)),
        ((2, 2, WIDTH), (BATCH, READ_TOKENS, WIDTH)),
        ((2, WIDTH), (BATCH, TOKENS, WIDTH)),
    ],
)
def test_another_shape_is_refused_before_it_is_pooled(tmp_path: Path, shape: tuple[int, ...], expected: Shape) -> None:
    session = open_session(graph_of(np.zeros(shape, np.float32), tmp_path / "g.onnx"), "mean", expected)
    with pytest.raises(BundleError, match=re.escape(f"as float32 {list(shape)} for 2 x 3 tokens")):
        session.run(BATCH_OF_2, HIDDEN)


@pytest.mark.usefixtures("cpu_as_card")
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_another_type_is_refused_before_it_is_pooled(tmp_path: Path, dtype: type[np.generic]) -> None:
    declared = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    session = open_session(graph_of(np.zeros((2, 3, WIDTH), dtype), tmp_path / "g.onnx", declared=declared), "mean")
    with pytest.raises(BundleError, match=r"as tensor\(\w+\) \[2, 3, 4\] .*not float32"):
        session.run(BATCH_OF_2, HIDDEN)


@pytest.mark.usefixtures("cpu_as_card")
def test_what_is_no_tensor_is_refused(tmp_path: Path) -> None:
    output = helper.make_tensor_sequence_value_info(HIDDEN, TensorProto.INT64, None)
    session = open_session(written("SequenceConstruct", output, tmp_path / "g.onnx"), "mean")
    with pytest.raises(BundleError, match=r"as seq\(tensor\(int64\)\) \[\] for 2 x 3 tokens"):
        session.run(BATCH_OF_2, HIDDEN)


def written(operator: str, output: ValueInfoProto, path: Path, **constants: NDArray[np.int64]) -> Path:
    """Write a graph of one node, which reads the first input and the constants."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in ("input_ids", "attention_mask")]
    node = helper.make_node(operator, ["input_ids", *constants], [HIDDEN])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], "g", inputs, [output], initializers)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("pooling", [None, "mean"])
@pytest.mark.usefixtures("cpu_as_card")
def test_memory_that_ran_out_is_said_to_have(tmp_path: Path, pooling: Pooling | None) -> None:
    """By ONNX Runtime's own error: the graph wants an array of 2**45 numbers."""
    output = helper.make_tensor_value_info(HIDDEN, TensorProto.INT64, None)
    size = np.array([2**22, 2**22, 2, 3])
    session = open_session(written("Expand", output, tmp_path / "g.onnx", size=size), pooling)
    with pytest.raises(BundleError, match=r"failed on 2 x 3 tokens .*; memory ran out, so lower batch_tokens$"):
        session.run(BATCH_OF_2, HIDDEN)


@pytest.mark.usefixtures("cpu_as_card")
def test_pooling_that_fails_is_an_error_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for memory that runs out only then."""

    def fail(*_: object) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    session = open_session(graph_of(np.zeros((2, 3, WIDTH), np.float32), tmp_path / "g.onnx"), "mean")
    monkeypatch.setattr(DevicePool, "pool", fail)
    with pytest.raises(BundleError, match=r"\(CUDA failure 2: out of memory\); memory ran out, so lower batch_tokens$"):
        session.run(BATCH_OF_2, HIDDEN)
