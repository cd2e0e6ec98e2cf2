"""Measure which linear layers of an int8 graph cause the most error by the rounding of their rows.

All layers get rows of 16 bits at first, and then one after the other loses them for a run. What that changes is the
layer's share. So only one layer rounds coarsely at a time: two int8 graphs whose first codes differ are as far from
each other as each is from fp32, so the difference to the int8 graph would drown each layer's share in noise.

Shares add up. On a model with 24 layers, hidden size 256 and seeded weights, the sum of all 97 shares was 4.2e-5, and
rows of 16 bits in all layers reduced 1 - cosine from 5.6e-5 to 1.4e-5. Two thirds of it came from the feed-forward
outputs of the last eight layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from embedge.bundle.manifest import HIDDEN, SCORES
from embedge.progress import progress
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.int8.mend_rows import STEP, SWITCH, int8_linear_layers, with_fine_rows

Ids = NDArray[np.int64]


def error_shares(graph: Path, batches: Sequence[Ids]) -> Mapping[str, float]:
    """Return the error that each linear layer of an int8 graph causes by rows of 8 bits instead of 16.

    The error is 1 - cosine of a token's hidden states, or the squared difference of a reranker's scores: the mean over
    all rows of the output.

    Args:
        graph: the graph's file, from ``quantise``. A file beside it is written for a time: it reads the same weights.
        batches: token ids of texts of equal length, int64 [texts, tokens] each.

    Raises:
        CheckpointError: ONNX Runtime cannot open or run the graph.
    """
    model = onnx.load(graph, load_external_data=False)
    layers = int8_linear_layers(model)
    output = next(result.name for result in model.graph.output if result.name in (HIDDEN, SCORES))
    probe = graph.with_name(f"{graph.stem}_probe.onnx")
    try:
        probe.write_bytes(with_fine_rows(model, layers, switches=True).SerializeToString())
        return _measure(CpuSession(probe, optimise=False), layers, output, batches)
    finally:
        probe.unlink(missing_ok=True)


def choose_layers(shares: Mapping[str, float], fraction: float) -> list[str]:
    """Return the fewest layers that cause at least this fraction of the sum of all shares.

    >>> choose_layers({"a": 1, "b": 5, "c": 4}, 0.6)
    ['b', 'c']
    >>> choose_layers({"a": 1, "b": 5, "c": 4}, 1)
    ['b', 'c', 'a']
    """
    chosen: list[str] = []
    wanted, total = fraction * sum(shares.values()), 0.0
    for layer, share in sorted(shares.items(), key=lambda item: -item[1]):
        if total >= wanted and fraction < 1:
            break
        chosen.append(layer)
        total += share
    return chosen


def _measure(session: CpuSession, layers: Sequence[str], output: str, batches: Sequence[Ids]) -> dict[str, float]:
    fine, coarse = np.array(STEP, np.float32), np.array(0, np.float32)

    def run(rough: str = "") -> NDArray[np.float64]:
        switches = {f"{layer}{SWITCH}": coarse if layer == rough else fine for layer in layers}
        feeds: Iterator[dict[str, NDArray[Any]]] = (
            {"input_ids": ids, "attention_mask": np.ones_like(ids), **switches} for ids in batches
        )
        values = (session.run([output], feed)[0] for feed in feeds)
        return np.concatenate([rows.reshape(-1, rows.shape[-1]) for rows in values]).astype(np.float64)

    exact, shares = run(), {}
    with progress(len(layers), None) as advance:
        for layer in layers:
            shares[layer] = float(_errors(exact, run(layer)).mean())
            advance(1)
    return shares


def _errors(exact: NDArray[np.float64], rough: NDArray[np.float64]) -> NDArray[np.float64]:
    if exact.shape[1] == 1:  # scores
        return np.square(exact - rough)
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rough, axis=1)
    errors: NDArray[np.float64] = 1 - (exact * rough).sum(axis=1) / norms
    return errors
