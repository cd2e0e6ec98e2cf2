"""The process that times one instruction set: the environment forces it on the kernels before anything else runs.

``benchmarks.instruction_sets`` starts it, with an Order as JSON in the first argument.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.measure.kernels import chosen_instruction_set, one_core_options
from benchmarks.peers.table import FORCE

_ROWS = 256  # of a product; the runtime gives a core batches of 256 tokens and more
_WARM = 2  # rounds
_LIMIT = 6.0  # seconds for the rounds of one batch, or of one product: plain C++ takes seconds for 512 tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the process measures.

    Attributes:
        library: the kernels.
        plain: the plain int8 graph.
        fused: the same for the kernels.
        shapes: texts and tokens of each batch.
        vocabulary: the number of token ids.
        products: inputs and outputs of a layer's linear layers.
        rounds: how often each batch runs in each graph, unless that takes longer than a few seconds.
    """

    library: str
    plain: str
    fused: str
    shapes: Sequence[Sequence[int]]
    vocabulary: int
    products: Sequence[Sequence[int]]
    rounds: int


def main() -> None:
    """Print a line of JSON: the milliseconds of each round by shape and graph, GOPS, and a checksum of the outputs."""
    order, asked = Order(**json.loads(sys.argv[1])), os.environ[FORCE]
    library = Path(order.library)
    fused = ort.InferenceSession(order.fused, one_core_options(library), providers=["CPUExecutionProvider"])
    if (found := chosen_instruction_set(library)) != asked:
        raise RuntimeError(f"{FORCE}={asked} was set, and the kernels use {found}")
    plain = ort.InferenceSession(order.plain, one_core_options(), providers=["CPUExecutionProvider"])
    milliseconds, checksum = {}, 0
    for texts, tokens in order.shapes:
        ids = np.random.default_rng(0).integers(0, order.vocabulary, (texts, tokens), np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        milliseconds[f"{texts} x {tokens}"] = _in_turns({"plain": plain, "fused": fused}, feed, order.rounds)
        for output in fused.run(None, feed):
            checksum = zlib.crc32(output.tobytes(), checksum)
    gops = _gops(library, order.products, order.rounds)
    print(json.dumps({"milliseconds": milliseconds, "gops": gops, "checksum": checksum}))


def _in_turns(
    sessions: Mapping[str, ort.InferenceSession], feed: Mapping[str, Any], rounds: int
) -> dict[str, list[float]]:
    """The milliseconds of every round, by graph. Only the second of two runs counts: the first fills the caches.

    The rounds to warm up count where there is no time for others.
    """
    times: dict[str, list[float]] = {name: [] for name in sessions}
    end = time.perf_counter() + _LIMIT
    for number in range(_WARM + rounds):
        if number and time.perf_counter() > end:
            break
        for name, session in sessions.items():
            session.run(None, feed)
            times[name].append(1000 * _seconds(partial(session.run, None, feed)))
    return {name: of[min(_WARM, len(of) - 1) :] for name, of in times.items()}


def _gops(library: Path, products: Sequence[Sequence[int]], rounds: int) -> float:
    """Billions of operations per second in the kernels' linear layers of float32 rows; a multiply-add is two."""
    random, seconds = np.random.default_rng(0), 0.0
    for inputs, outputs in products:
        session = _row_linear(library, inputs, outputs)
        feed = {"rows": random.standard_normal((_ROWS, inputs), np.float32)}
        seconds += median(_in_turns({"linear": session}, feed, rounds)["linear"]) / 1000
    return 2 * _ROWS * sum(inputs * outputs for inputs, outputs in products) / seconds / 1e9


def _row_linear(library: Path, inputs: int, outputs: int) -> ort.InferenceSession:
    """A session of one linear layer: rows are quantised, multiplied by int8 weights, scaled, and given a bias."""
    random = np.random.default_rng(0)
    constants = {
        "weight": random.integers(-127, 128, (inputs, outputs), np.int8),
        "scales": np.full(outputs, 0.01, np.float32),
        "bias": np.zeros(outputs, np.float32),
    }
    node = helper.make_node("RowLinear", ["rows", *constants], ["out"], domain="embedge", activation=0)
    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [_ROWS, size])
        for name, size in (("rows", inputs), ("out", outputs))
    )
    graph = helper.make_graph(
        [node], "linear", [given], [made], [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("embedge", 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    return ort.InferenceSession(
        model.SerializeToString(), one_core_options(library), providers=["CPUExecutionProvider"]
    )


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
