"""Is embedge as fast as it was? This checkout and another, on one bundle, in turns.

python benchmarks/versions.py --help
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

from peers.process import child_environment
from tasks import data_folder, read_collection, read_pairs

_HERE = Path(__file__).parents[1]
# The source roots of a checkout; the checkout that is installed comes after them.
_ROOTS = ("runtime", "export", "models")
_QUERY = "how do I bake bread with yeast at home?"
_COLD = "import sys; from embedge import Embedder; Embedder(sys.argv[1]).encode(sys.argv[2]); print('done', flush=True)"
# Answers every line, a list of texts and a number of calls as JSON, with the milliseconds of all calls.
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
Turn = Callable[[], float]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("before", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("-b", "--bundle", required=True, type=click.Path(exists=True), help="A bundle that both versions read.")
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
def main(before: Path, bundle: str, rounds: int) -> None:
    """Measure this checkout beside BEFORE, another one, in turns: warm calls and cold starts.

    A ratio is the median over the rounds of BEFORE's time by this checkout's in the same round: above 1, this one is
    faster. Of two runs of the same code it is 0.99 to 1.01 on a quiet machine.

    \b
    git worktree add ../before COMMIT
    python benchmarks/versions.py ../before -b BUNDLE
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
    """Texts and calls of a turn, by kind; a turn takes some tenths of a second."""
    folder = data_folder()
    return {
        "query": ([_QUERY], 100),
        "short": (list(read_pairs(folder).sentences[:512]), 1),
        "long": (list(read_collection(folder).documents[:24]), 1),
    }


def _compare(kind: str, rounds: int, turns: Mapping[Path, Turn], before: Path) -> None:
    """Print the medians and their ratio; who begins a round changes with the round."""
    order = list(turns)
    times: dict[Path, list[float]] = {where: [] for where in order}
    for turn in range(-1, rounds):  # one to warm up
        for where in order if turn % 2 else reversed(order):
            milliseconds = turns[where]()
            if turn >= 0:
                times[where].append(milliseconds)
    old, new = times[before], times[_HERE]
    ratio = median(a / b for a, b in zip(old, new, strict=True))
    click.echo(f"{kind:<10} before {median(old):8.1f} ms, now {median(new):8.1f} ms, ratio {ratio:.3f}")


def _environment(checkout: Path) -> dict[str, str]:
    roots = os.pathsep.join(str(checkout.resolve() / root) for root in _ROOTS)
    return {**child_environment(), "PYTHONPATH": roots}


def _cold(checkout: Path, bundle: str) -> float:
    """Milliseconds from the start of a process to its first vector."""
    start = time.perf_counter()
    command = [sys.executable, "-c", _COLD, bundle, _QUERY]
    subprocess.run(command, env=_environment(checkout), check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - start)


class _Warm:
    """A process of a checkout that has loaded the bundle."""

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
            raise click.ClickException(f"{checkout} is not what was imported, but {found}")

    def __enter__(self) -> "_Warm":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, texts: list[str], calls: int) -> float:
        """Milliseconds of so many calls."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([texts, calls]) + "\n")
        self._process.stdin.flush()
        return float(str(self._answer()))

    def _answer(self) -> object:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


if __name__ == "__main__":
    main()
