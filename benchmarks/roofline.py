"""How near to what the processor can multiply? One core's peak, and what share of it each peer's model reaches.

python benchmarks/roofline.py --help
"""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from contest import Contest, Entrant, open_contest, short_and_long
from options import Setup, contest_options
from peak import measure_peak
from peers.padded import open_tokenizer
from peers.process import PeerProcess
from speed import Figures, publish


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@contest_options
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--short", type=click.IntRange(min=1), default=512, show_default=True, help="STS-B sentences.")
@click.option("--long", type=click.IntRange(min=1), default=64, show_default=True, help="Cranfield documents.")
def main(setup: Setup, rounds: int, short: int, long: int) -> None:
    """Measure what share of the int8 peak each peer's linear layers reach, over the time that everything takes.

    The peak is the best that ONNX Runtime's product of uint8 rows and int8 weights does on one core, times the cores; a
    peer's figure is the multiply-adds of the model's linear layers on the texts, padding not counted, by the time for
    all of it: tokenising, attention, normalisation and the rest. What an encoder leaves out since no vector needs it,
    such as most of the last layer under CLS pooling, counts as done. Measured in turns, the peak too, in every round.

    \b
    python benchmarks/roofline.py --threads 1 --peers '*-tuned'
    """
    peaks: dict[str, list[float]] = {"int8": [], "float32": []}
    with open_contest(setup) as contest:
        figures = {}
        for kind, texts in short_and_long(contest, {"short": short, "long": long}).items():
            work = multiply_adds(contest.config, _tokens(contest, texts))
            figures[kind] = _measure(contest, kind, texts, work, rounds, peaks)
    click.echo(
        ", ".join(f"{kind}: {max(found) / 1e9:.0f} G multiply-adds a second on a core" for kind, found in peaks.items())
    )
    publish(setup, contest, what="% of the int8 peak", figures=figures)


def multiply_adds(config: Mapping[str, Any], tokens: int) -> int:
    """Of all linear layers of a BERT encoder on so many tokens; attention's own products are not linear layers.

    >>> bge_small = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12}
    >>> multiply_adds(bge_small, 1)
    21233664
    """
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    return int(tokens * config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * wide))


def _tokens(contest: Contest, texts: Sequence[str]) -> int:
    tokenizer = open_tokenizer(contest.entrants[0].kit.folder)
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts)))


def _measure(
    contest: Contest, kind: str, texts: Sequence[str], work: int, rounds: int, peaks: Mapping[str, list[float]]
) -> Figures:
    path = contest.write_texts(kind, texts)

    def turn(entrant: Entrant) -> dict[str, float]:
        for name, found in peaks.items():
            found.append(measure_peak(name))
        with PeerProcess(entrant.peer, entrant.kit) as process:
            process.ask("encode", texts=path)
            seconds: float = process.ask("encode", texts=path)["seconds"]
        return {"%": 100 * work / seconds / (peaks["int8"][-1] * entrant.kit.threads)}

    return Figures.of(contest.in_turns(rounds, turn)["%"], lower_is_better=False)


if __name__ == "__main__":
    main()
