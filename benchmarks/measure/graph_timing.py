"""Time several graphs of one model against each other: interleaved, in one process, on one thread."""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from embedge.bundle.manifest import BATCH, HIDDEN, READ_TOKENS
from embedge.inference.providers import CPU_ONLY
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch


def open_graph(graph: ModelProto, path: Path, width: int) -> Session:
    """Open a session of a graph as the runtime does, on one core.

    Args:
        graph: the graph.
        path: the file to which it is written.
        width: the size of its hidden states.

    Raises:
        BundleError: ONNX Runtime cannot run the graph.
    """
    path.write_bytes(graph.SerializeToString())
    outputs = {HIDDEN: (BATCH, READ_TOKENS, width)}
    return Session(path, providers=CPU_ONLY, threads=1, outputs=outputs, run_as_is=True)


def random_ids(texts: int, tokens: int, vocabulary: int) -> NDArray[np.int64]:
    """Random token ids of texts without padding, [texts, tokens]."""
    return np.random.default_rng(0).integers(0, vocabulary, (texts, tokens), np.int64)


def time_interleaved(sessions: Mapping[str, Session], ids: NDArray[np.int64], rounds: int) -> dict[str, list[float]]:
    """The milliseconds of every round, by graph.

    Each graph runs twice in a round, and only the second run is timed: during the first, the processor's caches still
    contain the data of the other graphs.
    """
    batch = TokenBatch(range(len(ids)), ids)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for number in range(-3, rounds):  # three rounds to warm up
        for name, session in sessions.items():
            session.run(batch, HIDDEN)
            start = time.perf_counter()
            session.run(batch, HIDDEN)
            if number >= 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return times


def times_faster(times: Mapping[str, list[float]], name: str, than: str) -> float:
    """How many times as fast one graph is as another: the median of the ratios of all rounds.

    >>> times_faster({"a": [3, 4, 4], "b": [1, 2, 4]}, "b", than="a")
    2.0
    """
    return median(slow / fast for slow, fast in zip(times[than], times[name], strict=True))
