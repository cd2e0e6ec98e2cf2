"""Counts for Prometheus, with the names of text-embeddings-inference where they mean the same.

Only the event loop's thread changes them, but for the counts of batches, which the threads that run batches change.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

# Seconds: from a short text on an idle core to the longest request that is allowed.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
# text-embeddings-inference's own (router/src/prometheus.rs of version 1.9).
_BATCH_SIZES = tuple(2**power for power in range(13))
_BATCH_TOKENS = tuple(2**power for power in range(21))
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of values up to each bound, as Prometheus has them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Return the lines of Prometheus's text format.

        >>> histogram = Histogram([1, 2])
        >>> histogram.observe(2)
        >>> histogram.lines("x")[1:4]
        ['x_bucket{le="1"} 0', 'x_bucket{le="2"} 1', 'x_bucket{le="+Inf"} 1']
        """
        lines, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.9g}", f"{name}_count {total}"]


class Metrics:
    """What a server did so far.

    Args:
        waiting: returns the texts and the tokens that wait for a model.
        restarts: how often the server's process had to be started again.
    """

    def __init__(self, waiting: Callable[[], tuple[int, int]], restarts: int) -> None:
        self._waiting = waiting
        self._restarts = restarts
        self._requests: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._successes = self._texts = self._tokens = 0
        self._seconds = Histogram(_SECONDS)
        self._texts_of_requests = Histogram(_SIZES)
        self._batch_texts, self._batch_tokens = Histogram(_BATCH_SIZES), Histogram(_BATCH_TOKENS)
        self._lock = threading.Lock()  # of these two

    def begin(self, route: str) -> None:
        """Count a request; ``route`` is one of the server's, since a client could send any number of paths."""
        self._requests[route] += 1

    def succeed(self, texts: int, tokens: int) -> None:
        """Count an answer."""
        self._successes += 1
        self._texts += texts
        self._tokens += tokens
        if texts:
            self._texts_of_requests.observe(texts)

    def fail(self, kind: str) -> None:
        """Count a request that failed."""
        self._failures[kind] += 1

    def end(self, seconds: float) -> None:
        """Count the time of a request."""
        self._seconds.observe(seconds)

    def add_batch(self, texts: int, tokens: int) -> None:
        """Count a batch that ran; any thread may call it."""
        with self._lock:
            self._batch_texts.observe(texts)
            self._batch_tokens.observe(tokens)

    def text(self) -> str:
        """Return all metrics in Prometheus's text format."""
        texts, tokens = self._waiting()
        with self._lock:
            batches = [
                *self._batch_texts.lines("te_batch_next_size"),
                *self._batch_tokens.lines("te_batch_next_tokens"),
            ]
        lines = [
            *_labelled("te_request_count", "route", self._requests),
            *_plain("te_request_success", "counter", self._successes),
            *_labelled("te_request_failure", "err", self._failures),
            *self._seconds.lines("te_request_duration"),
            *_plain("te_queue_size", "gauge", texts),
            *batches,
            *_plain("embedge_queue_tokens", "gauge", tokens),
            *_plain("embedge_texts_total", "counter", self._texts),
            *_plain("embedge_tokens_total", "counter", self._tokens),
            *self._texts_of_requests.lines("embedge_request_texts"),
            *_plain("embedge_restarts_total", "counter", self._restarts),
        ]
        return "\n".join(lines) + "\n"


def _plain(name: str, kind: str, value: float) -> list[str]:
    return [f"# TYPE {name} {kind}", f"{name} {value}"]


def _labelled(name: str, label: str, counts: Mapping[str, int]) -> list[str]:
    return [f"# TYPE {name} counter", *(f'{name}{{{label}="{key}"}} {count}' for key, count in sorted(counts.items()))]
