"""How many texts a second, and in how much memory? embedge and its peers, on the same weights, in turns.

python benchmarks/throughput.py --help
"""

from collections.abc import Sequence

import click

from contest import Contest, Entrant, open_contest, short_and_long
from options import Setup, contest_options
from peers.process import PeerProcess
from speed import Figures, publish

_WARM = 2.0  # seconds of work until the last pass counts
_LONG = 10.0  # seconds; a first pass that took longer needs no second


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@contest_options
@click.option("--texts", type=click.Choice(["short", "long", "both"]), default="both", show_default=True)
@click.option("--short", type=click.IntRange(min=1), default=1024, show_default=True, help="STS-B sentences.")
@click.option("--long", type=click.IntRange(min=1), default=256, show_default=True, help="Cranfield documents.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
def main(setup: Setup, texts: str, short: int, long: int, rounds: int) -> None:
    """Measure texts per second, in turns, each peer in a fresh process every turn.

    A turn embeds all texts again and again, two passes and two seconds long at least, and times the last pass (a first
    pass of over ten seconds stands). embedge takes a turn before that of every peer; a peer's ratio is the median of
    the ratios of its turns. Memory is the most that the process ever held.

    \b
    python benchmarks/throughput.py --peers all
    python benchmarks/throughput.py --peers '*-tuned' --shape base --texts long
    """
    kinds = ["short", "long"] if texts == "both" else [texts]
    with open_contest(setup) as contest:
        chosen = short_and_long(contest, {"short": short, "long": long})
        figures = {kind: _measure(contest, kind, chosen[kind], rounds) for kind in kinds}
    publish(setup, contest, what="texts per second", figures=figures)


def _measure(contest: Contest, kind: str, texts: Sequence[str], rounds: int) -> Figures:
    path = contest.write_texts(kind, texts)

    def turn(entrant: Entrant) -> dict[str, float]:
        with PeerProcess(entrant.peer, entrant.kit) as process:
            passes: list[float] = []
            while len(passes) < 2 or sum(passes) < _WARM:
                passes.append(process.ask("encode", texts=path)["seconds"])
                if passes[0] > _LONG:
                    break
            return {"texts/s": len(texts) / passes[-1], "bytes": process.ask("memory")["peak"]}

    turns = contest.in_turns(rounds, turn)
    return Figures.of(turns["texts/s"], turns["bytes"], lower_is_better=False)


if __name__ == "__main__":
    main()
