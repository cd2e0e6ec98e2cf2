"""Graphs of one model against one another: in one process, on one thread, in turns."""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from embedge.bundle.manifest import BATCH, HIDDEN, READ_TOKENS
from embedge.inference.session import Session


def open_graph(graph: ModelProto, path: Path, width: int) -> Session:
    """A session on one core, as the runtime's own; the graph's hidden states have that width.

    Raises:
        BundleError: ONNX Runtime does not run it.
    """
    path.write_bytes(graph.SerializeToString())
    outputs = {HIDDEN: (BATCH, READ_TOKENS, width)}
    return Session(path, providers=("CPUExecutionProvider",), threads=1, outputs=outputs, run_as_is=True)


def random_ids(texts: int, tokens: int, vocabulary: int) -> NDArray[np.int64]:
    """Token ids of texts without padding, [texts, tokens]."""
    return np.random.default_rng(0).integers(0, vocabulary, (texts, tokens), np.int64)


def in_turns(sessions: Mapping[str, Session], ids: NDArray[np.int64], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every turn, by graph.

    Each runs twice in a turn, and the second is taken: the first finds in the caches what the others left.
    """
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(-3, rounds):  # three turns to warm up
        for name, session in sessions.items():
            session.run(ids, HIDDEN)
            start = time.perf_counter()
            session.run(ids, HIDDEN)
            if turn >= 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def times_faster(times: Mapping[str, list[float]], name: str, than: str) -> float:
    """How many times as fast one graph is as another: the median of the ratios of every turn.

    >>> times_faster({"a": [3, 4, 4], "b": [1, 2, 4]}, "b", than="a")
    2.0
    """
    return median(slow / fast for slow, fast in zip(times[than], times[name], strict=True))
