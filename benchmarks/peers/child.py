"""The process of one encoder: reads commands as lines of JSON, and answers each with a line of JSON.

``benchmarks.peers.process`` starts it, with the peer's module and kit as JSON in the first argument.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.peers.base import BatchedEncoder, Encoder
    from benchmarks.peers.embedge import OwnEncoder


def load(order: Mapping[str, Any]) -> "Encoder":
    """The encoder for the name of an adapter and a kit, both as JSON has them."""
    from benchmarks.peers.base import Kit

    kit = Kit(**{**order["kit"], "folder": Path(order["kit"]["folder"])})
    encoder: Encoder = import_module(f"benchmarks.peers.{order['module']}").load(kit)
    return encoder


def read_texts(path: str) -> list[str]:
    """The texts in a JSON file."""
    texts: list[str] = json.loads(Path(path).read_text(encoding="utf-8"))
    return texts


def memory() -> dict[str, int]:
    """Resident bytes of this process: now, and the peak so far."""
    fields = {"now": "VmRSS:", "peak": "VmHWM:"}
    status = Path("/proc/self/status").read_text(encoding="ascii")
    lines = dict(line.split(maxsplit=1) for line in status.splitlines() if line.startswith(tuple(fields.values())))
    return {name: int(lines[field].split()[0]) * 1024 for name, field in fields.items()}


def _encode(encoder: "Encoder", texts: str, count: int | None = None) -> dict[str, Any]:
    """The seconds that all texts take, or ``count`` texts, which repeat the list."""
    return _time(encoder.encode, texts, count)


def _encode_batches(encoder: "BatchedEncoder", texts: str, batch: int | None) -> dict[str, Any]:
    """The seconds that all texts take in batches of that size."""
    return _time(partial(encoder.encode, batch=batch), texts)


def _time(encode: Callable[[list[str]], object], texts: str, count: int | None = None) -> dict[str, Any]:
    wanted = read_texts(texts)
    if count is not None:
        wanted = list(islice(cycle(wanted), count))
    start = time.perf_counter()
    encode(wanted)
    return {"seconds": time.perf_counter() - start}


def _each(encoder: "Encoder", texts: str) -> dict[str, Any]:
    """The milliseconds of each text in a call of its own, the first one included: nothing warms up."""
    milliseconds = []
    for text in read_texts(texts):
        start = time.perf_counter()
        encoder.encode([text])
        milliseconds.append(1000 * (time.perf_counter() - start))
    return {"milliseconds": milliseconds}


def _latency(encoder: "Encoder", text: str, count: int) -> dict[str, Any]:
    """The milliseconds of each of ``count`` calls with one text, after half as many calls to warm up."""
    milliseconds = []
    for turn in range(-count // 2, count):
        start = time.perf_counter()
        encoder.encode([text])
        if turn >= 0:
            milliseconds.append(1000 * (time.perf_counter() - start))
    return {"milliseconds": milliseconds}


def _vectors(encoder: "Encoder", texts: str, to: str) -> dict[str, Any]:
    import numpy as np

    np.save(to, encoder.encode(read_texts(texts)))
    return {}


def _stream(encoder: "OwnEncoder", texts: str, count: int, samples: int) -> dict[str, Any]:
    """Resident bytes, sampled evenly along a stream of repeated texts. Only embedge's encoder has a stream."""
    source = islice(cycle(read_texts(texts)), count)
    resident = [
        memory()["now"]
        for place, _ in enumerate(encoder.embedder.stream(source, prompt=""), 1)
        if place % (count // samples) == 0
    ]
    return {"resident": resident}


_VERBS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "encode": _encode,
    "encode_batches": _encode_batches,
    "each": _each,
    "latency": _latency,
    "vectors": _vectors,
    "stream": _stream,
    "memory": lambda encoder: memory(),
}


def main() -> None:
    """Load the encoder, write its size and how long that took, and answer commands until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # so that prints of a library do not mix with the answers
    start = time.perf_counter()
    encoder = load(json.loads(sys.argv[1]))
    loaded = {"size": encoder.size, "seconds": time.perf_counter() - start}
    print(json.dumps(loaded), file=answers, flush=True)
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        answer = _VERBS[order.pop("verb")](encoder, **order)
        print(json.dumps(answer), file=answers, flush=True)
