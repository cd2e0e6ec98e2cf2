"""How many texts a second, and in how much memory? embedge and its peers, on the same weights, in turns.

python benchmarks/throughput.py --help
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import click

from contest import Contest, Entrant, open_contest, ratios, short_and_long
from embedge.cpu import usable_cores
from embedge.errors import EmbedgeError
from machine import describe, this_machine
from peers.process import PeerProcess
from report import align, write_json
from seeded import SHAPES
from speed import Figures, SpeedResult, bars, list_peers

_WARM = 10.0  # seconds; a first pass that took longer needs no second


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--shape", type=click.Choice(list(SHAPES)), default="small", show_default=True, help="Of bge, seeded.")
@click.option("-m", "--model", help="Recipe, hub id or checkpoint's DIR, instead of seeded weights.")
@click.option("--like", metavar="RECIPE", help="What a directory was fine-tuned from: its pooling and prompts.")
@click.option("--peers", "patterns", metavar="NAME", multiple=True, help="Peers; * stands for anything; all.")
@click.option("--texts", type=click.Choice(["short", "long", "both"]), default="both", show_default=True)
@click.option("--short", type=click.IntRange(min=1), default=1024, show_default=True, help="STS-B sentences.")
@click.option("--long", type=click.IntRange(min=1), default=256, show_default=True, help="Cranfield documents.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use; all by default.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw them there: .png or .svg.")
@click.option("--list", "list_rows", is_flag=True, help="Show the peers, and which can run here; then stop.")
def main(
    shape: str,
    model: str | None,
    like: str | None,
    patterns: tuple[str, ...],
    texts: str,
    short: int,
    long: int,
    rounds: int,
    threads: int | None,
    json_file: Path | None,
    plot: Path | None,
    list_rows: bool,
) -> None:
    """Measure texts per second, in turns, each peer in a fresh process every turn.

    A turn embeds all texts twice and times the second pass (a first pass of over ten seconds stands). Ratios are
    embedge's speed by the peer's in the same round, their median. Memory is the most that the process ever held.

    \b
    python benchmarks/throughput.py --peers all
    python benchmarks/throughput.py --peers '*-tuned' --shape base --texts long
    """
    if list_rows:
        list_peers(patterns)
        return
    kinds = ["short", "long"] if texts == "both" else [texts]
    cores = threads or usable_cores()
    try:
        with open_contest(patterns, shape=shape, model=model, like=like, threads=cores) as contest:
            figures = {
                kind: _measure(contest, kind, sentences, rounds)
                for kind, sentences in short_and_long(kinds, {"short": short, "long": long}).items()
            }
    except (EmbedgeError, LookupError, OSError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error
    result = SpeedResult(
        what="texts per second",
        model=contest.model,
        threads=cores,
        figures=figures,
        left_out=contest.left_out,
        machine=this_machine(),
    )
    _print(result)
    if json_file:
        write_json(result, json_file)
    if plot:
        bars(result, plot)


def _measure(contest: Contest, kind: str, texts: Sequence[str], rounds: int) -> Figures:
    path = contest.write_texts(kind, texts)
    peaks: dict[str, list[float]] = {}

    def turn(entrant: Entrant) -> float:
        with PeerProcess(entrant.peer, entrant.kit) as process:
            seconds: float = process.ask("encode", texts=path)["seconds"]
            if seconds < _WARM:
                seconds = process.ask("encode", texts=path)["seconds"]
            peaks.setdefault(entrant.peer.name, []).append(process.ask("memory")["peak"])
        return len(texts) / seconds

    found = contest.in_turns(rounds, turn)
    return Figures(
        values=found,
        times_better=ratios(found, lower_is_better=False),
        memory={name: median(peaks[name]) for name in found},
    )


def _print(result: SpeedResult) -> None:
    click.echo(f"{result.model}, {result.threads} cores")
    click.echo(describe(result.machine))
    for kind, figures in result.figures.items():
        rows = [
            (name, f"{median(values):.1f}", f"{figures.times_better[name]:.2f}", f"{figures.memory[name] / 1e6:.0f}")
            for name, values in sorted(figures.values.items(), key=lambda row: -median(row[1]))
        ]
        click.echo(f"\n{align([(kind, 'texts/s', 'embedge is x times', 'peak MB'), *rows])}")
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")


if __name__ == "__main__":
    main()
