"""Cases that every instruction set and every processor must compute to the same bits."""

from collections.abc import Iterator, Sequence

import numpy as np

from tests.kernels.cases import Array, Case
from tests.kernels.graphs import (
    MINILM,
    RECIPES,
    SMALL,
    Activation,
    Graph,
    Shape,
    embedding,
    encoder_layer,
    row_dot,
    row_linear,
)  # fmt: skip

# Around the sizes of blocks: rows of a register block, panels of 64 keys, pairs of keys, 96 rows of a task.
TOKENS = (1, 2, 3, 5, 6, 7, 15, 16, 17, 31, 33, 47, 49, 63, 64, 65, 95, 97, 128, 191)
STATIC = frozenset({"qkv", "q", "up"})


def rows(seed: int, *shape: int) -> Array:
    """Return seeded rows as layer normalisation makes them, with a few large values as trained models have."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal(shape).astype(np.float32)
    found[..., rng.integers(shape[-1])] *= 8
    return found


def hidden(graph: Graph, seed: int, batch: int, tokens: int, width: int, threads: int = 1) -> Case:
    """Return a case of an encoder layer with seeded rows."""
    return Case(graph=graph, inputs=layer_inputs(rows(seed, batch, tokens, width)), threads=threads)


def layer_inputs(hidden: Array, counts: Sequence[int] | None = None) -> dict[str, Array]:
    """Return the inputs of EncoderLayer: hidden states, and a mask of texts with these numbers of tokens, or of all."""
    batch, tokens = hidden.shape[:2]
    return {"hidden": hidden, "attention_mask": mask_of([tokens] * batch if counts is None else counts, tokens)}


def mask_of(counts: Sequence[int], tokens: int) -> Array:
    """Return an attention mask, int64 [batch, tokens]: 1 for the tokens of a text, then 0."""
    return (np.arange(tokens) < np.reshape(counts, (-1, 1))).astype(np.int64)


def some_counts(seed: int, batch: int, tokens: int) -> list[int]:
    """Return the tokens of each text of a batch, of which one text has all."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, tokens + 1, batch)
    counts[rng.integers(batch)] = tokens
    return [int(count) for count in counts]


def token_inputs(
    seed: int, batch: int, tokens: int, *, vocabulary: int = 97, positions: int | None = None
) -> dict[str, Array]:
    """Return seeded inputs of EmbedLayerNorm, without padding; with ``positions``, also position_ids below it."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {"input_ids": rng.integers(0, vocabulary, (batch, tokens))}
    inputs["attention_mask"] = np.ones((batch, tokens), np.int64)
    if positions is not None:
        inputs["position_ids"] = rng.integers(0, positions, (batch, tokens))
    return inputs


def layer_kinds(shape: Shape) -> list[Graph]:
    """Return layers of a shape: every activation, static and dynamic scales, whole and pruned."""
    activations: tuple[Activation, ...] = ("gelu", "gelu_tanh", "relu")
    kinds = [encoder_layer(shape, seed=1, activation=activation) for activation in activations]
    kinds += [
        encoder_layer(shape, seed=2, static=static, residual_scale=True) for static in (STATIC, frozenset({"up"}))
    ]
    kinds += [encoder_layer(shape, seed=3, first_token=True, static=static) for static in (frozenset[str](), STATIC)]
    return kinds


def standard_cases(*, large: bool = True) -> list[Case]:
    """Return the cases: every operator, small shapes, and with ``large`` those of the recipes."""
    found = list(_small_layers())
    found += [Case(graph=graph, inputs=inputs) for graph, inputs in _embeddings()]
    found += list(_heads())
    if large:
        found += [hidden(encoder_layer(shape), 7, 2, 9, shape.width) for shape in RECIPES]
        found += [hidden(encoder_layer(shape, first_token=True), 8, 1, 70, shape.width) for shape in RECIPES]
        found += [hidden(graph, 9, 3, 40, MINILM.width) for graph in layer_kinds(MINILM)]
        found += [hidden(encoder_layer(MINILM), 10, 1, 512, MINILM.width)]
    return found


def _small_layers() -> Iterator[Case]:
    for shape in SMALL:
        for number, graph in enumerate(layer_kinds(shape)):
            yield hidden(graph, number, 2, 33, shape.width)
            states = rows(number, 5, 33, shape.width)
            yield Case(graph=graph, inputs=layer_inputs(states, some_counts(number, 5, 33)))
    for graph in (encoder_layer(SMALL[1]), encoder_layer(SMALL[0], first_token=True)):
        yield from (hidden(graph, tokens, 1, tokens, 64) for tokens in TOKENS)
        yield from (hidden(graph, batch, batch, 4, 64) for batch in (3, 8, 64))


def _embeddings() -> Iterator[tuple[Graph, dict[str, Array]]]:
    for width in (64, 384, 1024):
        yield embedding(width), token_inputs(width, 3, 17)
        yield embedding(width, positions=40, given=True), token_inputs(width, 2, 30, positions=40)
    yield embedding(64), token_inputs(1, 1, 8192)
    yield embedding(64), {**token_inputs(2, 3, 9), "attention_mask": mask_of([9, 1, 4], 9)}


def _heads() -> Iterator[Case]:
    for activation in (0, 1, 2):
        for static in (False, True):
            graph = row_linear(384, 384, static=static, bias=activation != 0, activation=activation)
            yield from (Case(graph=graph, inputs={"rows": rows(count, count, 384)}) for count in (1, 7, 100))
    yield Case(
        graph=row_linear(128, 1024, axes=3, static=False, bias=True, activation=1), inputs={"rows": rows(4, 2, 5, 128)}
    )
    for relu in (False, True):
        yield Case(graph=row_dot(768, relu=relu), inputs={"rows": rows(5, 9, 768)})
        yield Case(graph=row_dot(1024, axes=3, relu=relu), inputs={"rows": rows(6, 3, 5, 1024)})
