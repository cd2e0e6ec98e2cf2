"""Measure latency: the time that one text takes, for embedge and its peers with the same weights.

python -m benchmarks.latency --help
"""

from collections.abc import Mapping
from statistics import median

import click
import numpy as np

from benchmarks.measure.comparison import BuiltPeer, Comparison, open_comparison, text_of
from benchmarks.measure.options import Setup, comparison_options, kernel_options
from benchmarks.peers.process import PeerProcess
from benchmarks.report.speed_report import Figures, publish

# The tokens of the text, special tokens included, and the number of calls in a round.
_KINDS: Mapping[str, tuple[int, int]] = {"query of 10 tokens": (10, 200), "document of 512 tokens": (512, 20)}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@kernel_options
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def main(setup: Setup, rounds: int) -> None:
    """Measure the milliseconds that one text takes in a warm process.

    In every round, each peer runs in a new process, and embedge runs just before it. A process embeds one text per
    call: a query 200 times or a document 20 times, after half as many calls to warm up. A speed-up is the median over
    the rounds of the peer's median time divided by embedge's; the same for the 99th percentiles. A model that reads
    fewer than 512 tokens has no document.

    \b
    python -m benchmarks.latency --peers all
    python -m benchmarks.latency --peers 'openvino-*' --threads 1
    """
    figures: dict[str, Figures] = {}
    with open_comparison(setup) as comparison:
        for kind, (tokens, calls) in _KINDS.items():
            if tokens <= comparison.max_tokens:
                figures |= _measure(comparison, kind, text_of(comparison, tokens), calls, rounds)
    publish(setup, comparison, what="milliseconds", figures=figures)


def _measure(comparison: Comparison, kind: str, text: str, calls: int, rounds: int) -> dict[str, Figures]:
    """The median and the 99th percentile, as two kinds."""

    def measure(built: BuiltPeer) -> dict[str, float]:
        with PeerProcess(built.peer, built.kit) as process:
            milliseconds: list[float] = process.ask("latency", text=text, count=calls)["milliseconds"]
        return {"p50": median(milliseconds), "p99": float(np.percentile(milliseconds, 99))}

    runs = comparison.run_rounds(rounds, measure)
    return {f"{kind}, {name}": Figures.of(runs[name], lower_is_better=True) for name in runs}


if __name__ == "__main__":
    main()
