"""Measure throughput and memory: texts per second, for embedge and its peers with the same weights.

python -m benchmarks.throughput --help
"""

from collections.abc import Sequence

import click

from benchmarks.measure.comparison import BuiltPeer, Comparison, open_comparison, short_and_long
from benchmarks.measure.options import Setup, comparison_options, kernel_options
from benchmarks.peers.process import PeerProcess
from benchmarks.report.speed_report import Figures, publish

_WARM = 2.0  # seconds of work before the last pass counts
_LONG = 10.0  # seconds; after a longer first pass, there is no second


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@kernel_options
@click.option("--texts", type=click.Choice(["short", "long", "both"]), default="both", show_default=True)
@click.option("--short", type=click.IntRange(min=1), default=1024, show_default=True, help="Number of STS-B sentences.")
@click.option(
    "--long", type=click.IntRange(min=1), default=256, show_default=True, help="Number of Cranfield documents."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(setup: Setup, texts: str, short: int, long: int, rounds: int) -> None:
    """Measure texts per second.

    In every round, each peer runs in a new process, and embedge runs just before it. A process embeds all texts at
    least twice and for at least two seconds; only the last pass counts. A first pass of more than ten seconds counts,
    too. A speed-up is the median ratio of the rounds. Memory is the peak of the process.

    \b
    python -m benchmarks.throughput --peers all
    python -m benchmarks.throughput --peers '*-tuned' --shape base --texts long
    """
    kinds = ["short", "long"] if texts == "both" else [texts]
    with open_comparison(setup) as comparison:
        chosen = short_and_long(comparison, {"short": short, "long": long})
        figures = {kind: _measure(comparison, kind, chosen[kind], rounds) for kind in kinds}
    publish(setup, comparison, what="texts per second", figures=figures)


def _measure(comparison: Comparison, kind: str, texts: Sequence[str], rounds: int) -> Figures:
    path = comparison.write_texts(kind, texts)

    def measure(built: BuiltPeer) -> dict[str, float]:
        with PeerProcess(built.peer, built.kit) as process:
            passes: list[float] = []
            while len(passes) < 2 or sum(passes) < _WARM:
                passes.append(process.ask("encode", texts=path)["seconds"])
                if passes[0] > _LONG:
                    break
            return {"texts/s": len(texts) / passes[-1], "bytes": process.ask("memory")["peak"]}

    runs = comparison.run_rounds(rounds, measure)
    return Figures.of(runs["texts/s"], runs["bytes"], lower_is_better=False)


if __name__ == "__main__":
    main()
