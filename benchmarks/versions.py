"""Compare the speed of this checkout with that of another, on the same bundle, to find regressions.

python -m benchmarks.versions --help
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import click

from benchmarks.data.datasets import data_folder, read_collection, read_pairs
from benchmarks.peers.process import child_environment

_HERE = Path(__file__).parents[1]
# The source roots of a checkout. They come before an installed checkout on the path.
_ROOTS = ("runtime", "export", "models")
_QUERY = "how do I bake bread with yeast at home?"
_COLD = "import sys; from embedge import Embedder; Embedder(sys.argv[1]).encode(sys.argv[2]); print('done', flush=True)"
# Reads lines of JSON, each a list of texts and a number of calls, and answers with the milliseconds of all calls.
_WARM = """
import json, sys, time
from embedge import Embedder
model = Embedder(sys.argv[1])
print(json.dumps(sys.modules["embedge"].__file__), flush=True)
for line in sys.stdin:
    texts, calls = json.loads(line)
    start = time.perf_counter()
    for _ in range(calls):
        model.encode(texts, on_truncate="ignore")
    print(json.dumps(1000 * (time.perf_counter() - start)), flush=True)
"""
Measurement = Callable[[], float]  # milliseconds


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("before", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "-b", "--bundle", required=True, type=click.Path(exists=True), help="A bundle that both checkouts can read."
)
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
def main(before: Path, bundle: str, rounds: int) -> None:
    """Compare the speed of this checkout with BEFORE, another checkout, in warm calls and cold starts.

    A ratio is the median over the rounds of BEFORE's time divided by this checkout's time in the same round. Above 1,
    this checkout is faster. The same code gives 0.99 to 1.01 on a quiet machine.

    \b
    git worktree add ../before COMMIT
    python -m benchmarks.versions ../before -b BUNDLE
    """
    texts = _texts()
    with ExitStack() as stack:
        warm = {checkout: stack.enter_context(_Warm(checkout, bundle)) for checkout in (before, _HERE)}
        for kind, (some, calls) in texts.items():
            _compare(
                kind, rounds, {where: partial(process.ask, some, calls) for where, process in warm.items()}, before
            )
    cold = {where: partial(_cold, where, bundle) for where in (before, _HERE)}
    _compare("cold start", 2 * rounds, cold, before)


def _texts() -> Mapping[str, tuple[list[str], int]]:
    """The texts, and the number of calls in a round, by kind. A round takes a few tenths of a second."""
    folder = data_folder()
    return {
        "query": ([_QUERY], 100),
        "short": (list(read_pairs(folder).sentences[:512]), 1),
        "long": (list(read_collection(folder).documents[:24]), 1),
    }


def _compare(kind: str, rounds: int, measurements: Mapping[Path, Measurement], before: Path) -> None:
    """Print the medians and the ratio. The two checkouts take turns in starting a round."""
    order = list(measurements)
    times: dict[Path, list[float]] = {where: [] for where in order}
    for number in range(-1, rounds):  # one round to warm up
        for where in order if number % 2 else reversed(order):
            milliseconds = measurements[where]()
            if number >= 0:
                times[where].append(milliseconds)
    old, new = times[before], times[_HERE]
    ratio = median(a / b for a, b in zip(old, new, strict=True))
    click.echo(f"{kind:<10} before {median(old):8.1f} ms, now {median(new):8.1f} ms, ratio {ratio:.3f}")


def _environment(checkout: Path) -> dict[str, str]:
    roots = os.pathsep.join(str(checkout.resolve() / root) for root in _ROOTS)
    return {**child_environment(), "PYTHONPATH": roots}


def _cold(checkout: Path, bundle: str) -> float:
    """The milliseconds from the start of a process to its first vector."""
    start = time.perf_counter()
    command = [sys.executable, "-c", _COLD, bundle, _QUERY]
    subprocess.run(command, env=_environment(checkout), check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - start)


class _Warm:
    """A process that has loaded the bundle with the code of one checkout."""

    def __init__(self, checkout: Path, bundle: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WARM, bundle],
            env=_environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = Path(str(self._answer()))
        if checkout.resolve() not in found.resolve().parents:
            raise click.ClickException(
                f"the process imported {found}, which is not in {checkout}; uninstall embedge or give another checkout"
            )

    def __enter__(self) -> "_Warm":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, texts: list[str], calls: int) -> float:
        """The milliseconds of ``calls`` calls."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([texts, calls]) + "\n")
        self._process.stdin.flush()
        return float(str(self._answer()))

    def _answer(self) -> object:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


if __name__ == "__main__":
    main()
