"""quantise.py and attention_operator.py, compared with numpy."""

import json
from collections.abc import Callable
from math import erf, sqrt
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto

from embedge_export.int8.activation_scale import GELU_DEPTH, choose_zero_point
from embedge_export.int8.attention_operator import LONG_TEXT
from embedge_export.int8.gptq import quantise_weight
from embedge_export.int8.quantise import quantise
from embedge_export.int8.smooth import smooth
from fitted import fit, run
from linear_graphs import linear_model, plain, run_rows

MakeCheckpoint = Callable[..., Path]
Floats = NDArray[np.float32]
# Usual values, and unusual ones: zeros, huge outliers, subnormals, constants.
_ELEMENT = st.one_of(
    st.floats(-8, 8, width=32),
    st.sampled_from([0.0, 1e6, -1e6, 1e-42, -1e-42, 1.0]),
    st.floats(-(2**-126), 2**-126, width=32),
)


def test_a_linear_layer_is_the_formula_for_any_rows() -> None:
    """ONNX Runtime's result is numpy's, also for zero rows, a huge outlier, subnormals and constant rows."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((12, 5)).astype(np.float32)
    model = quantise(linear_model(weight, np.zeros(5, np.float32), gelu=False), {"layer": plain(12)})
    codes, scales = quantise_weight(weight, np.eye(12, dtype=np.float32))
    rounded = codes * scales.astype(np.float64)

    @given(arrays(np.float32, st.tuples(st.integers(1, 9), st.just(12)), elements=_ELEMENT))
    def check(rows: Floats) -> None:
        steps = np.maximum(np.abs(rows).max(axis=1, keepdims=True).astype(np.float64) / 127, 1e-12)
        # A code of ONNX Runtime may differ by one from numpy's if the quotient ends in .5.
        loosely = np.abs(rounded).sum(axis=0) * steps * 0.5001 + 1e-12
        assert (np.abs(run_rows(model, rows) - rows @ rounded) <= loosely + 1e-5 * np.abs(rows @ rounded)).all()

    check()


def test_rows_of_a_batch_do_not_depend_on_each_other() -> None:
    """A huge row does not change a bit of the others."""
    random = np.random.default_rng(1)
    weight, rows = (random.standard_normal(shape).astype(np.float32) for shape in ((32, 16), (9, 32)))
    model = quantise(linear_model(weight, np.zeros(16, np.float32), gelu=False), {"layer": plain(32)})
    alone = np.concatenate([run_rows(model, row[None]) for row in rows])
    rows[4] *= 1e6
    np.testing.assert_array_equal(np.delete(run_rows(model, rows), 4, 0), np.delete(alone, 4, 0))


def test_gelus_rows_are_unsigned_around_one_zero_point() -> None:
    """Codes are 0 to 255, few of them below the zero point; the result is the formula's."""
    random = np.random.default_rng(2)
    weight, rows = (random.standard_normal(shape).astype(np.float32) for shape in ((64, 8), (20, 64)))
    bias = random.standard_normal(8).astype(np.float32)
    found = plain(64)
    model = quantise(linear_model(weight, bias, gelu=True), {"layer": found})
    codes, scales = quantise_weight(weight, np.eye(64, dtype=np.float32))
    active = rows * 0.5 * (1 + np.vectorize(erf)(rows / sqrt(2)))
    zero = choose_zero_point(found.rows.max(axis=1))
    steps = np.maximum(active.max(axis=1, keepdims=True) / (255 - zero), float(GELU_DEPTH) / zero)
    assert (np.rint(active / steps) + zero).min() >= 0
    assert (np.rint(active / steps) + zero).max() <= 255
    rounded = np.rint(active / steps) * steps
    np.testing.assert_allclose(run_rows(model, rows), rounded @ (codes * scales.astype(np.float64)) + bias, atol=1e-4)


def test_int8_is_near_the_fp32_graph(make_checkpoint: MakeCheckpoint) -> None:
    model, activations = fit(make_checkpoint())
    rounded = quantise(*smooth(model, activations))
    ids = np.random.default_rng(0).integers(1, 64, (4, 30))
    mask = (np.arange(30) < np.array([30, 12, 5, 1])[:, None]).astype(np.int64)
    first, second = (run(graph, ids * mask, mask).reshape(-1, 32) for graph in (model, rounded))
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("tokens", [LONG_TEXT - 1, LONG_TEXT, 600])
def test_attention_is_the_same_with_either_operator(make_checkpoint: MakeCheckpoint, tokens: int) -> None:
    """Around the length at which the operator changes: near the fp32 graph, and bitwise the same in a batch."""
    model, activations = fit(make_checkpoint(config={"max_position_embeddings": 600}))
    rounded = quantise(*smooth(model, activations))
    ids = np.random.default_rng(0).integers(1, 64, (3, tokens))
    first, second = (run(graph, ids).reshape(-1, 32) for graph in (model, rounded))
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert cosines.min() > 0.999
    alone = np.concatenate([run(rounded, ids[place : place + 1]) for place in range(3)])
    np.testing.assert_array_equal(run(rounded, ids), alone)


def test_long_texts_use_attention_in_blocks(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    """ONNX Runtime's profile says which operator ran."""
    model, activations = fit(make_checkpoint(config={"max_position_embeddings": 600}))
    rounded = quantise(*smooth(model, activations))
    for tokens, expected in ((LONG_TEXT - 1, "Attention"), (LONG_TEXT, "MultiHeadAttention")):
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


def test_an_int8_graph_has_no_fp32_weight(make_checkpoint: MakeCheckpoint) -> None:
    model = quantise(*fit(make_checkpoint()))
    assert not [node.name for node in model.graph.node if node.op_type == "MatMul"]
    sizes = {t.name: int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    assert max(size for name, size in sizes.items() if name != "position_embeddings") <= 96
