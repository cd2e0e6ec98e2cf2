"""Measure the cold starts of serverless functions: from the start of the process to the first answer, and the memory.

python -m benchmarks.serverless --help
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import click

from benchmarks.measure.process_start import (
    ANSWERED,
    QUERY,
    Measured,
    StartError,
    time_lambda,
    time_program,
    time_server,
)
from benchmarks.peers.process import child_environment
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json

_BASE = "imports only: numpy, onnxruntime, tokenizers"
_IMPORTS = "import numpy, onnxruntime, tokenizers"
_PLAIN = "import os; from embedge import Embedder; Embedder(os.environ['EMBEDGE_MODEL']).encode_query('{query}')"
# What a platform's runtime takes by itself: functions that load nothing.
_NOTHING = "def handler(event, context):\n    return {}\n\n\ndef function(request):\n    return '{}'\n"
_GOOGLE = "from embedge.serverless import cloud_function as function\n"
Start = Callable[[Path, Mapping[str, str]], "Measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A way to start.

    Attributes:
        name: the name of the row.
        start: starts it and measures; its arguments are a folder of functions and the environment.
        needs: a module that must be importable.
    """

    name: str
    start: Start
    needs: str = "embedge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a run: the machine, the bundle's model, the cores, and the figures of each round by row."""

    machine: Machine
    model: str
    cores: int
    runs: dict[str, list[Measured]] = field(default_factory=dict)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-b", "--bundle", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--core", type=click.IntRange(min=0), help="Run all processes on this core alone. Default: on all.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write all figures to this JSON file, too.")
def main(bundle: Path, rounds: int, core: int | None, output: Path | None) -> None:
    """Measure the time from the start of Python to the first answer, with all files in the disk cache.

    AWS Lambda's rows run awslambdaric with a Runtime API on the loopback interface. Google's rows run
    functions-framework. The rows take turns in every round, and each round starts with another row. A ratio is the
    median, over the rounds, of a row's time and that of the imports in the same round. The third column is the time on
    a processor. Memory is the sum of the peaks of a row's processes; functions-framework has two, which share some.

    \b
    python -m benchmarks.serverless -b BUNDLE
    """
    rows = [row for row in _ROWS if find_spec(row.needs)]
    for row in set(_ROWS) - set(rows):
        click.echo(f"left out, because {row.needs} is not installed: {row.name}", err=True)
    if core is not None:
        os.sched_setaffinity(0, {core})
    environment = {**child_environment(), "EMBEDGE_MODEL": str(bundle.absolute()), "OPENBLAS_NUM_THREADS": "1"}
    environment["ORT_DISABLE_TELEMETRY"] = "1"
    result = Result(machine=this_machine(), model=_model(bundle), cores=len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="embedge-serverless-") as name:
        folder = Path(name)
        (folder / "nothing.py").write_text(_NOTHING, encoding="utf-8")
        (folder / "google.py").write_text(_GOOGLE, encoding="utf-8")
        for number in range(-1, rounds):  # the first round loads the files into the disk cache
            first = number % len(rows)
            for row in rows[first:] + rows[:first]:
                try:
                    measured = row.start(folder, environment)
                except StartError as error:
                    raise click.ClickException(f"{row.name}: {error}") from error
                if number >= 0:
                    result.runs.setdefault(row.name, []).append(measured)
    click.echo(f"{describe(result.machine)}; {result.model}, {rounds} rounds, {result.cores} core(s)\n")
    click.echo(_table(result))
    if output:
        write_json(result, output)


def _table(result: Result) -> str:
    """The medians of the rows, as a Markdown table."""
    base = [one.milliseconds for one in result.runs[_BASE]]
    table = [("start", "ms", "fastest, ms", "CPU ms", "ratio to the imports", "peak MB")]
    for name, runs in result.runs.items():
        times = [one.milliseconds for one in runs]
        ratio = median(own / imports for own, imports in zip(times, base, strict=True))
        cpu, memory = median(one.cpu for one in runs), median(one.bytes for one in runs) / 1e6
        cells = (f"{median(times):.0f}", f"{min(times):.0f}", f"{cpu:.0f}", f"{ratio:.2f}", f"{memory:.0f}")
        table.append((name, *cells))
    return align(table)


def _model(bundle: Path) -> str:
    return str(json.loads((bundle / "embedge.json").read_text(encoding="utf-8"))["model"])


def _script(code: str) -> Start:
    """Time a script that prints a line when it is done."""

    def start(folder: Path, environment: Mapping[str, str]) -> Measured:
        return time_program([sys.executable, "-c", f"{code}; {ANSWERED}"], environment)[0]

    return start


def _lambda(handler: str) -> Start:
    """Time AWS's runtime, from its start to its answer to the first event."""

    def start(folder: Path, environment: Mapping[str, str]) -> Measured:
        own = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}{folder}"}
        return time_lambda([sys.executable, "-m", "awslambdaric", handler], own)

    return start


def _server(*arguments: str) -> Start:
    """Time a server, from its start to its answer to the first request, which is sent when its port opens."""

    def start(folder: Path, environment: Mapping[str, str]) -> Measured:
        return time_server([sys.executable, *(one.format(folder=folder) for one in arguments)], environment)

    return start


_FRAMEWORK = ("-m", "functions_framework", "--target", "function", "--source")
_ROWS = (
    Row(name=_BASE, start=_script(_IMPORTS)),
    Row(name="`Embedder(path).encode_query`", start=_script(_PLAIN.format(**QUERY))),
    Row(name="AWS Lambda", start=_lambda("embedge.serverless.lambda_handler"), needs="awslambdaric"),
    Row(name="AWS Lambda, a handler that does nothing", start=_lambda("nothing.handler"), needs="awslambdaric"),
    Row(name="container: `python -m embedge.serverless`", start=_server("-m", "embedge.serverless")),
    Row(name="Google Cloud function", start=_server(*_FRAMEWORK, "{folder}/google.py"), needs="functions_framework"),
    Row(
        name="Google Cloud function that does nothing",
        start=_server(*_FRAMEWORK, "{folder}/nothing.py"),
        needs="functions_framework",
    ),
)

if __name__ == "__main__":
    main()
