"""Measure cold starts: the time from the start of a process to its first vector, for embedge and its peers.

python -m benchmarks.cold_start --help
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import click

from benchmarks.measure.comparison import BuiltPeer, PairedRuns, open_comparison
from benchmarks.measure.options import Setup, comparison_options, kernel_options
from benchmarks.peers.process import PeerFailedError, child_command, child_environment
from benchmarks.report.speed_report import Figures, publish

# Two rows that are not peers: the imports that embedge needs, and its command.
_IMPORTS = "numpy, onnxruntime, tokenizers: imports only"
_COMMAND = "`embedge embed` command"
_IMPORT = "import numpy, onnxruntime, tokenizers; print('imported', flush=True)"
_TEXT = "how do I bake bread?"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@kernel_options
@click.option("--rounds", type=click.IntRange(min=1), default=10, show_default=True)
def main(setup: Setup, rounds: int) -> None:
    """Measure the time from the start of Python to the first vector, with all files in the disk cache.

    Two rows are not peers: the imports that embedge needs, and the `embedge embed` command. embedge runs just before
    each peer in every round. A speed-up is the median ratio of a row's time and embedge's time just before. Memory is
    the peak of a process.

    \b
    python -m benchmarks.cold_start --peers all
    """
    rows = PairedRuns(baseline=setup.baseline)

    def measure(built: BuiltPeer) -> dict[str, float]:
        name, environment = built.peer.name, child_environment(built.peer)
        milliseconds, peak = _start(child_command("benchmarks.peers.cold", built.peer, built.kit), name, environment)
        if name == setup.baseline:  # after embedge's own run, for which they would warm up the caches
            own = [
                sys.executable,
                "-m",
                "embedge",
                "embed",
                "-m",
                str(built.kit.folder / "bundle"),
                _TEXT,
            ]
            for row, command in ((_IMPORTS, [sys.executable, "-c", _IMPORT]), (_COMMAND, own)):
                rows.add(row, _start(command, row, environment)[0], milliseconds)
        return {"milliseconds": milliseconds, "bytes": peak}

    with open_comparison(setup) as comparison:
        comparison.run_rounds(1, measure)  # loads the files into the disk cache
        rows = PairedRuns(baseline=setup.baseline)
        runs = comparison.run_rounds(rounds, measure)
    times = runs["milliseconds"]
    whole = PairedRuns(values=rows.values | times.values, own=rows.own | times.own, baseline=setup.baseline)
    figures = Figures.of(whole, runs["bytes"], lower_is_better=True)
    publish(setup, comparison, what="milliseconds", figures={"cold start": figures})


def _start(command: Sequence[str], name: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """The milliseconds to the first line of stdout, and the peak bytes in the second line, or 0 without one.

    Raises:
        PeerFailedError: the process printed no line.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        milliseconds = 1000 * (time.perf_counter() - start)
        rest = process.stdout.read().strip()
    if not line:
        raise PeerFailedError(f"{name} ended with exit code {process.returncode} and no vector")
    return milliseconds, float(rest) if rest.isdecimal() else 0.0


if __name__ == "__main__":
    main()
