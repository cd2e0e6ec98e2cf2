"""How long from the start of a process to its first vector? embedge and its peers, in turns.

python benchmarks/cold_start.py --help
"""

import subprocess
import sys
import time
from collections.abc import Sequence

import click

from contest import OWN, Entrant, Turns, open_contest
from options import Setup, contest_options
from peers.process import PeerFailedError, child_command, child_environment
from speed import Figures, publish

# Rows that are no peers: what embedge cannot do without, and its command.
_IMPORTS = "python with numpy, onnxruntime and tokenizers"
_COMMAND = "embedge embed, the command"
_BARE = "import numpy, onnxruntime, tokenizers; print('imported', flush=True)"
_TEXT = "how do I bake bread?"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@contest_options
@click.option("--rounds", type=click.IntRange(min=1), default=10, show_default=True)
def main(setup: Setup, rounds: int) -> None:
    """Measure the time from starting Python to the first vector, files in the disk cache, in turns.

    Two rows are no peers: the bare imports that embedge cannot do without, and the `embedge embed` command. embedge
    takes a turn before that of every peer; ratios are the median of a row's time by embedge's beside it. Memory is the
    most that a process ever held.

    \b
    python benchmarks/cold_start.py --peers all
    """
    rows = Turns()

    def turn(entrant: Entrant) -> dict[str, float]:
        name = entrant.peer.name
        milliseconds, peak = _start(child_command("peers.cold", entrant.peer, entrant.kit), name)
        if name == OWN:  # after its own turn, which they would warm up for it
            own = [
                sys.executable,
                "-m",
                "embedge",
                "embed",
                "-m",
                str(entrant.kit.folder / "bundle"),
                _TEXT,
            ]
            for row, command in ((_IMPORTS, [sys.executable, "-c", _BARE]), (_COMMAND, own)):
                rows.add(row, _start(command, row)[0], milliseconds)
        return {"milliseconds": milliseconds, "bytes": peak}

    with open_contest(setup) as contest:
        contest.in_turns(1, turn)  # brings the files into the disk cache
        rows = Turns()
        turns = contest.in_turns(rounds, turn)
    times = turns["milliseconds"]
    whole = Turns(values=rows.values | times.values, beside=rows.beside | times.beside)
    figures = Figures.of(whole, turns["bytes"], lower_is_better=True)
    publish(setup, contest, what="milliseconds", figures={"cold start": figures})


def _start(command: Sequence[str], name: str) -> tuple[float, float]:
    """Milliseconds to the first line of stdout; and the number in the second, which is peak memory, or 0.

    Raises:
        PeerFailedError: the process ended without a line.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=child_environment(), text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        milliseconds = 1000 * (time.perf_counter() - start)
        rest = process.stdout.read().strip()
    if not line:
        raise PeerFailedError(f"{name} ended with {process.returncode} and no vector")
    return milliseconds, float(rest) if rest.isdecimal() else 0.0


if __name__ == "__main__":
    main()
