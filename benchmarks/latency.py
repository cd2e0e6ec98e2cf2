"""How long does one text take? embedge and its peers, on the same weights, in turns.

python benchmarks/latency.py --help
"""

from collections.abc import Mapping
from statistics import median

import click
import numpy as np

from contest import Contest, Entrant, open_contest, short_and_long
from options import Setup, contest_options
from peers.padded import open_tokenizer
from peers.process import PeerProcess
from speed import Figures, publish
from tasks import cut

# Tokens of a text, special ones included, and calls in a turn.
_KINDS: Mapping[str, tuple[int, int]] = {"query of 10 tokens": (10, 200), "document of 512 tokens": (512, 20)}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@contest_options
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def main(setup: Setup, rounds: int) -> None:
    """Measure the milliseconds that one text takes, warm, in turns, each peer in a fresh process every turn.

    A turn embeds one text again and again, alone in its call: 200 times a query, 20 times a document, and half as
    often before that, to warm up. embedge takes a turn before that of every peer; a peer's ratio is the median over
    its turns, of its median time by embedge's, and likewise of the 99th percentiles. A model that reads fewer tokens
    has no document.

    \b
    python benchmarks/latency.py --peers all
    python benchmarks/latency.py --peers 'openvino-*' --threads 1
    """
    figures: dict[str, Figures] = {}
    with open_contest(setup) as contest:
        for kind, (tokens, calls) in _KINDS.items():
            if tokens <= contest.max_tokens:
                figures |= _measure(contest, kind, _text(contest, tokens), calls, rounds)
    publish(setup, contest, what="milliseconds", figures=figures)


def _text(contest: Contest, tokens: int) -> str:
    """Cranfield's documents in a row, cut to so many tokens."""
    documents = short_and_long(contest, {"short": 0, "long": 8})["long"]
    (text,) = cut([" ".join(documents)], open_tokenizer(contest.entrants[0].kit.folder), max_tokens=tokens)
    return text


def _measure(contest: Contest, kind: str, text: str, calls: int, rounds: int) -> dict[str, Figures]:
    """Medians and 99th percentiles."""

    def turn(entrant: Entrant) -> dict[str, float]:
        with PeerProcess(entrant.peer, entrant.kit) as process:
            milliseconds: list[float] = process.ask("latency", text=text, count=calls)["milliseconds"]
        return {"p50": median(milliseconds), "p99": float(np.percentile(milliseconds, 99))}

    turns = contest.in_turns(rounds, turn)
    return {f"{kind}, {name}": Figures.of(turns[name], lower_is_better=True) for name in turns}


if __name__ == "__main__":
    main()
