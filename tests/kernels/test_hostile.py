"""What no exporter writes and no tokenizer returns: not a crash, the same on every instruction set, contained."""

from copy import copy

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")

from tests.kernels.cases import Array, Case, OnEverySet, Program, run, same_bits
from tests.kernels.graphs import SMALL, Graph, embedding, encoder_layer, row_dot, row_linear
from tests.kernels.standard_cases import STATIC, layer_inputs, layer_kinds, mask_of, rows, token_inputs

HOSTILE = {
    "nan": np.nan, "infinity": np.inf, "minus infinity": -np.inf, "huge": 3e38, "minus huge": -3e38, "tiny": 1e-42,
}  # fmt: skip
BROKEN = ("nan", "infinity", "minus infinity", "huge", "minus huge")  # huge: its square overflows


def _values(output: Array | str) -> Array:
    assert isinstance(output, np.ndarray), output
    return output


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_stays_in_its_text_and_is_the_same_everywhere(name: str, on_every_set: OnEverySet) -> None:
    shape = SMALL[3]
    clean = rows(1, 3, 20, shape.width)
    hostile = clean.copy()
    hostile[1, 4, 7] = HOSTILE[name]
    graphs = layer_kinds(shape)
    cases = [Case(graph=graph, inputs=layer_inputs(given)) for graph in graphs for given in (clean, hostile)]
    found = on_every_set(cases)
    for results in found.values():
        for number, graph in enumerate(graphs):
            before, after = map(_values, results.outputs[2 * number : 2 * number + 2])
            assert same_bits(after, _values(found["scalar"].outputs[2 * number + 1]))
            assert same_bits(before[::2], after[::2]), graph.attributes
            if name in BROKEN:
                assert np.isnan(after[1]).all(), graph.attributes


def test_rows_of_zeros_and_of_one_value(on_every_set: OnEverySet) -> None:
    """Their scale, or their variance, is 0."""
    shape = SMALL[2]
    whole = [np.full((2, 9, shape.width), value, np.float32) for value in (0, -0.0, 1, -5)]
    partly = rows(1, 2, 9, shape.width)
    partly[0, 3] = 0
    cases = [Case(graph=graph, inputs=layer_inputs(h)) for graph in layer_kinds(shape) for h in (*whole, partly)]
    cases += [
        Case(
            graph=row_linear(64, 64, static=static, bias=False, activation=0),
            inputs={"rows": np.zeros((3, 64), np.float32)},
        )
        for static in (False, True)
    ]
    found = on_every_set(cases)
    for name, results in found.items():
        for output, expected in zip(results.outputs, found["scalar"].outputs, strict=True):
            assert np.isfinite(_values(output)).all(), name
            assert same_bits(output, expected), name
        assert (_values(results.outputs[-1]) == 0).all()


def test_a_head_gives_nan_for_rows_that_are_not_usable_and_for_no_others(on_every_set: OnEverySet) -> None:
    given = rows(1, 8, 128)
    for number, value in enumerate(HOSTILE.values()):
        given[number, 3] = value
    cases = [
        Case(graph=row_linear(128, 64, static=static, bias=True, activation=0), inputs={"rows": given})
        for static in (False, True)
    ]
    cases += [Case(graph=row_dot(128, relu=relu), inputs={"rows": given}) for relu in (False, True)]
    found = on_every_set(cases)
    for results in found.values():
        assert all(same_bits(*pair) for pair in zip(results.outputs, found["scalar"].outputs, strict=True))
        for output in results.outputs[:2]:
            assert [bool(np.isnan(row).all()) for row in _values(output)] == [True] * 5 + [False] * 3
            assert np.isfinite(_values(output)[5:]).all()
        assert not np.isfinite(_values(results.outputs[2])[:3]).any()


@pytest.mark.parametrize(("which", "message"), [("input_ids", "token id"), ("position_ids", "position")])
def test_an_id_out_of_range_is_an_error(which: str, message: str, on_every_set: OnEverySet) -> None:
    graph, cases = embedding(64, vocabulary=97, positions=97, given=True), []
    for value in (-1, 97, 1 << 31, 1 << 40, -(1 << 63), (1 << 63) - 1):
        inputs = token_inputs(1, 2, 5, positions=97)
        inputs[which][1, 3] = value
        cases.append(Case(graph=graph, inputs=inputs))
    for results in on_every_set(cases).values():
        assert all(isinstance(output, str) and message in output for output in results.outputs)


def test_more_tokens_than_positions_are_an_error(program: Program) -> None:
    graph = embedding(64, positions=16)
    good, bad = run([Case(graph=graph, inputs=token_inputs(1, 1, tokens)) for tokens in (16, 17)], program).outputs
    assert isinstance(good, np.ndarray)
    assert isinstance(bad, str)
    assert "more tokens than there are positions" in bad


@pytest.mark.parametrize("mask", [(0, 1, 1, 1, 1), (1, 1, 0, 1, 1), (1, 1, 1, 1, 2), (1, 1, -1, 0, 0), (0, 0, 0, 0, 0)])
def test_padding_that_does_not_come_last_and_other_masks_are_errors(mask: tuple[int, ...], program: Program) -> None:
    masks = {"attention_mask": np.array([(1,) * 5, mask])}
    layers = [encoder_layer(SMALL[0], first_token=first_token) for first_token in (False, True)]
    cases = [Case(graph=embedding(64), inputs={**token_inputs(1, 2, 5), **masks})]
    cases += [Case(graph=graph, inputs={"hidden": rows(1, 2, 5, 64), **masks}) for graph in layers]
    for output in run(cases, program).outputs:
        assert isinstance(output, str)
        assert "mask" in output or "padding" in output or "without tokens" in output


def test_a_mask_of_another_shape_is_an_error(program: Program) -> None:
    shapes = ((1, 5), (3, 5), (2, 4), (2, 6), (10, 1), (5, 2))
    cases = [
        Case(
            graph=encoder_layer(SMALL[0]), inputs={"hidden": rows(1, 2, 5, 64), "attention_mask": np.ones(s, np.int64)}
        )
        for s in shapes
    ]
    assert all(isinstance(output, str) and "another shape" in output for output in run(cases, program).outputs)


def test_ids_and_positions_of_padding_are_not_looked_up(program: Program) -> None:
    graph = embedding(64, vocabulary=97, positions=97, given=True)
    inputs = {**token_inputs(1, 2, 5, positions=97), "attention_mask": mask_of([5, 2], 5)}
    wild = {name: values.copy() for name, values in inputs.items()}
    wild["input_ids"][1, 2:], wild["position_ids"][1, 2:] = (-1, 1 << 40, 97), (1 << 31, -5, 97)
    first, second = run([Case(graph=graph, inputs=given) for given in (inputs, wild)], program).outputs
    assert same_bits(first, second)
    assert (_values(first)[1, 2:] == 0).all()


@pytest.mark.parametrize("first_token", [False, True])
def test_a_batch_without_texts_is_empty_and_a_text_without_tokens_is_an_error(
    first_token: bool, program: Program
) -> None:
    graph = encoder_layer(SMALL[0], first_token=first_token, static=STATIC)
    cases = [Case(graph=graph, inputs=layer_inputs(np.zeros(size, np.float32))) for size in ((0, 5, 64), (3, 0, 64))]
    empty, refused = run(cases, program).outputs
    assert _values(empty).shape == (0, 1 if first_token else 5, 64)
    assert isinstance(refused, str)
    assert "without tokens" in refused


@pytest.mark.parametrize("heads", [0, -1, 3, (1 << 59) + 2, (1 << 58) + 1, -(1 << 59) + 2])
def test_a_number_of_heads_that_does_not_fit_is_an_error(heads: int, program: Program) -> None:
    """Times 32, some of these numbers wrap around to the width."""
    graph = copy(encoder_layer(SMALL[0]))
    graph.attributes = {**graph.attributes, "num_heads": heads}
    (output,) = run([Case(graph=graph, inputs=layer_inputs(rows(1, 1, 40, SMALL[0].width)))], program).outputs
    assert isinstance(output, str)
    assert "heads must be" in output


@pytest.mark.parametrize("shape", [(2, 5, 63), (2, 5, 65), (2, 5, 128), (2, 5, 0)])
def test_rows_of_another_width_are_an_error(shape: tuple[int, int, int], program: Program) -> None:
    given = np.zeros(shape, np.float32)
    cases = [Case(graph=encoder_layer(SMALL[0]), inputs=layer_inputs(given))]
    cases += [
        Case(graph=row_linear(64, 64, axes=3, static=False, bias=True, activation=0), inputs={"rows": given}),
        Case(graph=row_dot(64, axes=3, relu=False), inputs={"rows": given}),
    ]
    for output in run(cases, program).outputs:
        assert isinstance(output, str)


def _with_one_wrong_constant(graph: Graph) -> list[Graph]:
    """Return copies of a graph in which one constant has another type, or one element less on an axis."""
    found = []
    for number, value in enumerate(graph.values):
        if not isinstance(value, np.ndarray):
            continue
        changed = [value.astype(np.float64)]
        if value.ndim:
            changed.append(value[..., :-1])
        if value.ndim == 2 and (graph.kind, number) != ("EmbedLayerNorm", 4):  # which may have more or fewer positions
            changed.append(value[:-1])
        if value.dtype == np.int8:
            changed.append(value[None])
        for other in changed:
            wrong = copy(graph)
            wrong.values = [*graph.values]
            wrong.values[number] = np.ascontiguousarray(other)
            found.append(wrong)
    return found


@pytest.mark.parametrize("kind", ["layer", "pruned layer", "embedding", "linear", "dot"])
def test_constants_of_the_wrong_size_or_type_are_errors(kind: str, program: Program) -> None:
    graph, inputs = {
        "layer": (encoder_layer(SMALL[1], static=STATIC, residual_scale=True), layer_inputs(rows(1, 1, 3, 64))),
        "pruned layer": (
            encoder_layer(SMALL[1], static=STATIC, residual_scale=True, first_token=True),
            layer_inputs(rows(1, 1, 3, 64)),
        ),
        "embedding": (embedding(64), token_inputs(1, 2, 5)),
        "linear": (row_linear(64, 128, static=True, bias=True, activation=0), {"rows": rows(1, 2, 64)}),
        "dot": (row_dot(64, relu=False), {"rows": rows(1, 2, 64)}),
    }[kind]
    wrong = _with_one_wrong_constant(graph)
    right, *outputs = run([Case(graph=each, inputs=inputs) for each in (graph, *wrong)], program).outputs
    assert isinstance(right, np.ndarray)
    assert [number for number, output in enumerate(outputs) if not isinstance(output, str)] == []


@pytest.mark.parametrize("attribute", [
    {"num_heads": 0}, {"num_heads": -1}, {"num_heads": 3}, {"num_heads": 64}, {"activation": 3}, {"activation": -1},
    {"zero_point": -1}, {"zero_point": 256}, {"first_token": 1}, {"first_token": 2},
])  # fmt: skip
def test_attributes_out_of_range_are_errors(attribute: dict[str, float], program: Program) -> None:
    graph = encoder_layer(SMALL[1])
    graph.attributes.update(attribute)
    (output,) = run([Case(graph=graph, inputs=layer_inputs(rows(1, 1, 3, 64)))], program).outputs
    assert isinstance(output, str)
