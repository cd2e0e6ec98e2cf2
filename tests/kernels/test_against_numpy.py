"""Each operator against its definition in numpy, in float64 between the int8 codes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels import reference
from tests.kernels.cases import Array, Case, run_here
from tests.kernels.graphs import MINILM, SMALL, Activation, embedding, encoder_layer, row_dot, row_linear
from tests.kernels.standard_cases import layer_inputs, mask_of, rows, some_counts, token_inputs

seeds = st.integers(0, 2**32 - 1)


def _wide(values: list[Array | None]) -> list[Any]:
    """Arguments of the reference: float32 as float64, so that numpy adds no rounding of its own."""
    return [value.astype(np.float64) if value is not None and value.dtype == np.float32 else value for value in values]


def _cosines(found: Array, expected: Array) -> Array:
    lengths = np.linalg.norm(found.astype(np.float64), axis=-1) * np.linalg.norm(expected, axis=-1)
    cosines: Array = (found * expected).sum(axis=-1) / lengths
    return cosines


@settings(max_examples=60)
@given(
    shape=st.sampled_from([*SMALL, MINILM]),
    batch=st.integers(1, 3),
    tokens=st.integers(1, 150),
    static=st.frozensets(st.sampled_from(["qkv", "q", "up"])),
    first_token=st.booleans(),
    activation=st.sampled_from(["gelu", "gelu_tanh", "relu"]),
    residual_scale=st.booleans(),
    seed=seeds,
)
def test_an_encoder_layer(
    library: Path, shape: Any, batch: int, tokens: int, static: frozenset[str], first_token: bool,
    activation: Activation, residual_scale: bool, seed: int,
) -> None:  # fmt: skip
    graph = encoder_layer(
        shape, seed=seed, static=static, first_token=first_token, activation=activation, residual_scale=residual_scale
    )
    inputs = layer_inputs(rows(seed, batch, tokens, shape.width), some_counts(seed, batch, tokens))
    found = run_here(Case(graph=graph, inputs=inputs, threads=1 + seed % 2), library)
    expected = reference.encoder_layer(*_wide(graph.arguments(inputs)), **graph.attributes)
    assert found.shape == expected.shape
    real = expected.any(axis=-1)
    assert (found[~real] == 0).all()
    cosines = _cosines(found[real], expected[real])
    assert cosines.min() > 0.9995
    assert cosines.mean() > 0.9999


@settings(max_examples=40)
@given(
    width=st.sampled_from([64, 192, 384, 1024]),
    batch=st.integers(1, 4),
    tokens=st.integers(1, 60),
    positions=st.none() | st.integers(60, 200),
    seed=seeds,
)
def test_embed_layer_norm(library: Path, width: int, batch: int, tokens: int, positions: int | None, seed: int) -> None:
    graph = embedding(width, positions=positions or 60, given=positions is not None, seed=seed)
    inputs = token_inputs(seed, batch, tokens, positions=positions)
    inputs["attention_mask"] = mask_of(some_counts(seed, batch, tokens), tokens)
    found = run_here(Case(graph=graph, inputs=inputs), library)
    expected = reference.embed_layer_norm(*_wide(graph.arguments(inputs)), **graph.attributes)
    np.testing.assert_allclose(found, expected, atol=3e-5, rtol=1e-5)


@settings(max_examples=40)
@given(
    sides=st.tuples(*2 * [st.sampled_from([64, 128, 384, 1024])]),
    leading=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    static=st.booleans(),
    bias=st.booleans(),
    activation=st.integers(0, 2),
    seed=seeds,
)
def test_row_linear(
    library: Path, sides: tuple[int, int], leading: list[int], static: bool, bias: bool, activation: int, seed: int
) -> None:
    graph = row_linear(*sides, axes=len(leading) + 1, static=static, bias=bias, activation=activation, seed=seed)
    inputs = {"rows": rows(seed, *leading, sides[0])}
    found = run_here(Case(graph=graph, inputs=inputs), library)
    expected = reference.row_linear(*_wide(graph.arguments(inputs)), **graph.attributes)
    assert found.shape == expected.shape
    # A code that float32 rounds the other way changes an output by a code's step times a weight.
    assert np.quantile(np.abs(found - expected), 0.9) < 0.02
    assert np.abs(found - expected).max() < 0.3


@settings(max_examples=40)
@given(
    depth=st.sampled_from([64, 384, 1024]),
    leading=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    relu=st.booleans(),
    seed=seeds,
)
def test_row_dot(library: Path, depth: int, leading: list[int], relu: bool, seed: int) -> None:
    graph = row_dot(depth, axes=len(leading) + 1, relu=relu, seed=seed)
    inputs = {"rows": rows(seed, *leading, depth)}
    found = run_here(Case(graph=graph, inputs=inputs), library)
    expected = reference.row_dot(*_wide(graph.arguments(inputs)), **graph.attributes)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=3e-5, rtol=1e-5)
