"""Vectors are the same to the last bit: on every instruction set, alone and in a batch, on one thread and on many."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")

from tests.kernels.cases import Case, OnEverySet, Program, run, same_bits
from tests.kernels.graphs import MINILM, SMALL, encoder_layer, row_linear
from tests.kernels.standard_cases import TOKENS, hidden, layer_inputs, rows, some_counts, standard_cases


def test_every_instruction_set_computes_the_same_bits(on_every_set: OnEverySet) -> None:
    cases = standard_cases()
    found = on_every_set(cases)
    scalar = found["scalar"].outputs
    errors = [output for output in scalar if isinstance(output, str)]
    assert not errors
    for name, results in found.items():
        assert results.instruction_set == name
        different = [
            number for number, pair in enumerate(zip(results.outputs, scalar, strict=True)) if not same_bits(*pair)
        ]
        assert not different, f"{name}: {[(number, cases[number].graph.kind) for number in different]}"


@pytest.mark.parametrize("first_token", [False, True])
def test_a_batch_has_the_bits_of_its_texts_alone(first_token: bool, on_every_set: OnEverySet) -> None:
    """In any order: the batch is also fed from the last text to the first."""
    for shape in (SMALL[1], MINILM):
        graph = encoder_layer(shape, first_token=first_token)
        for batch, tokens in ((2, 1), (5, 7), (64, 3), (3, 100)):
            texts = rows(batch, batch, tokens, shape.width)
            alone = [Case(graph=graph, inputs=layer_inputs(texts[n : n + 1])) for n in range(batch)]
            together = [
                Case(graph=graph, inputs=layer_inputs(order)) for order in (texts, np.ascontiguousarray(texts[::-1]))
            ]
            for name, results in on_every_set([*together, *alone]).items():
                whole, backwards, *single = results.outputs
                assert same_bits(whole, np.concatenate(single)), f"{name}, {batch} x {tokens}"
                assert same_bits(backwards, np.concatenate(single[::-1])), f"{name}, {batch} x {tokens}"


@pytest.mark.parametrize("first_token", [False, True])
def test_texts_of_any_lengths_in_a_batch_have_the_bits_of_each_alone(
    first_token: bool, on_every_set: OnEverySet
) -> None:
    """What stands in the place of padding is not read, not even NaN, and the output has zeros there."""
    for shape in (SMALL[1], MINILM):
        graph = encoder_layer(shape, first_token=first_token)
        for batch, tokens in ((2, 2), (9, 20), (40, 5), (3, 150)):
            texts, counts = rows(batch, batch, tokens, shape.width), some_counts(tokens, batch, tokens)
            padded = texts.copy()
            padded[layer_inputs(texts, counts)["attention_mask"] == 0] = np.nan
            cases = [Case(graph=graph, inputs=layer_inputs(padded, counts), threads=threads) for threads in (1, 3)]
            cases += [
                Case(graph=graph, inputs=layer_inputs(texts[n : n + 1, :count])) for n, count in enumerate(counts)
            ]
            for name, results in on_every_set(cases).items():
                one, three, *alone = results.outputs
                assert not isinstance(one, str)
                assert same_bits(one, three), f"{name}, {counts}"
                for row, count, expected in zip(one, counts, alone, strict=True):
                    kept = 1 if first_token else count
                    assert same_bits(row[None, :kept], expected), f"{name}, {counts}"
                    assert (row[kept:] == 0).all(), f"{name}, {counts}"


@pytest.mark.parametrize("first_token", [False, True])
def test_threads_do_not_change_bits(first_token: bool, on_every_set: OnEverySet) -> None:
    graph = encoder_layer(MINILM, first_token=first_token)
    sizes = [*((1, tokens) for tokens in TOKENS), (2, 40), (7, 33), (32, 2)]
    cases = [hidden(graph, n, *size, MINILM.width, threads) for n, size in enumerate(sizes) for threads in (1, 2, 5)]
    for name, results in on_every_set(cases).items():
        for first in range(0, len(cases), 3):
            one, two, five = results.outputs[first : first + 3]
            assert same_bits(one, two), f"{name}, {sizes[first // 3]}"
            assert same_bits(one, five), f"{name}, {sizes[first // 3]}"


def test_a_head_gives_a_row_the_same_bits_alone_and_on_threads(on_every_set: OnEverySet) -> None:
    graph, given = row_linear(384, 192, static=False, bias=True, activation=1), rows(1, 300, 384)
    cases = [Case(graph=graph, inputs={"rows": given}, threads=threads) for threads in (1, 2)]
    cases += [Case(graph=graph, inputs={"rows": given[n : n + 1]}) for n in (0, 5, 99, 299)]
    for name, results in on_every_set(cases).items():
        one, two, *alone = results.outputs
        assert same_bits(one, two), name
        assert not isinstance(one, str)
        assert all(same_bits(one[n : n + 1], row) for n, row in zip((0, 5, 99, 299), alone, strict=True)), name


def test_a_run_after_another_is_as_the_first(program: Program) -> None:
    """Memory that a thread keeps from one run to the next must not show through."""
    small, large = encoder_layer(SMALL[0]), encoder_layer(MINILM)
    case = hidden(small, 1, 2, 9, 64)
    first, _, again = run([case, hidden(large, 2, 4, 150, MINILM.width), case], program).outputs
    assert same_bits(first, again)


def test_two_sets_that_differ_would_be_seen(program: Program) -> None:
    """The comparison itself: one bit, one sign of zero, one NaN more."""
    (output,) = run([hidden(encoder_layer(SMALL[0]), 1, 1, 3, 64)], program).outputs
    assert isinstance(output, np.ndarray)
    for value in (np.nextafter(output.flat[5], np.float32(9)), np.float32(np.nan)):
        changed = output.copy()
        changed.flat[5] = value
        assert not same_bits(output, changed)
    assert not same_bits(np.zeros(1, np.float32), -np.zeros(1, np.float32))
    assert same_bits(np.full(1, np.nan, np.float32), np.full(1, -np.nan, np.float32))
