"""Measure each place where embedge runs: the size of what it needs, the time to its first vector, and its memory.

python -m benchmarks.places --help
"""

import os
import tempfile
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import click

from benchmarks.measure import desktop_places, javascript_places, python_places
from benchmarks.measure.board_place import board
from benchmarks.measure.place import CannotRunError, Place, Prepare, forget_files
from benchmarks.measure.process_start import Run, StartError
from benchmarks.report.machine_info import this_machine
from benchmarks.report.places_report import Result, Row, report
from benchmarks.report.tables import write_json
from embedge import Bundle, EmbedgeError
from embedge.bundle.copy import copy_bundle

PLACES: Mapping[str, Prepare] = {
    "laptop: `pip install`, a script": python_places.laptop,
    "AWS Lambda, x86-64": python_places.aws_lambda("x86_64"),
    "AWS Lambda, Arm": python_places.aws_lambda("aarch64"),
    "container: `python -m embedge.serverless`": python_places.container,
    "Google Cloud function": python_places.google_cloud,
    "desktop: PyInstaller, a folder": desktop_places.folder,
    "desktop: PyInstaller, one file": desktop_places.one_file,
    "desktop: Nuitka": desktop_places.nuitka,
    "node, Electron's main process": javascript_places.node,
    "WebAssembly in node": javascript_places.web_assembly,
    "browser: a page in Chromium": javascript_places.chromium,
    "ARM board": board,
}
_SLOW = "desktop: Nuitka"
_PRIORITY = 5  # any is above those of usual programs


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-b", "--bundle", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(min=1), default=11, show_default=True)
@click.option("--only", metavar="NAME", multiple=True, help="Places, such as 'desktop*'. You can repeat this.")
@click.option("--nuitka", is_flag=True, help="Build the desktop app with Nuitka, too: takes 7 to 30 minutes.")
@click.option("--real-time", is_flag=True, help="Start the places with real-time priority, where other programs run.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="File for all figures, in JSON.")
def main(bundle: Path, rounds: int, only: tuple[str, ...], nuitka: bool, real_time: bool, output: Path | None) -> None:
    """Measure size, time to the first vector, and memory for each place where embedge runs. Linux only.

    Each place is built as its page under docs/ says, in a temporary folder. Then the places start in turn: first once
    untimed, which compiles Python's modules and reads the files from the disk. The time is the median from the
    start of the process to the first vector, of a page from the start of its load. Memory is the sum of the peaks of
    a place's processes. A place that cannot be built or started here is left out, and the last lines say why.

    \b
    pip install pyinstaller awslambdaric
    npm ci --ignore-scripts --prefix tests/javascript
    python -m benchmarks.places -b BUNDLE
    """
    names = [name for name in PLACES if (nuitka or name != _SLOW) and (not only or _matches(name, only))]
    if not names:
        raise click.UsageError(f"no such place; the places are {', '.join(PLACES)}")
    with tempfile.TemporaryDirectory(prefix="embedge-places-", ignore_cleanup_errors=True) as folder:
        try:
            copy = _copy(bundle, Path(folder) / "bundle")
        except EmbedgeError as error:
            raise click.ClickException(str(error)) from error
        result = measure(copy, names, Path(folder), rounds=rounds, real_time=real_time)
    for line in report(result):
        click.echo(line)
    if output:
        write_json(result, output)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _copy(bundle: Path, destination: Path) -> Bundle:
    """The bundle with the precision that an Embedder loads, and no other."""
    source = Bundle.open(bundle)
    return copy_bundle(source, destination, precisions=[source.pick_precision(None)])


def measure(bundle: Bundle, names: Iterable[str], folder: Path, *, rounds: int, real_time: bool) -> Result:
    """Build the places, then start them in turn. A place that fails is left out."""
    places: dict[str, Place] = {}
    left_out: dict[str, str] = {}
    for number, name in enumerate(names):
        click.echo(f"building {name}", err=True)
        work = folder / f"place-{number}"
        work.mkdir()
        try:
            places[name] = PLACES[name](bundle.path, work)
        except CannotRunError as error:
            left_out[name] = str(error)
    forget_files(folder)
    before = os.getloadavg()[0]
    if real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    runs = _start_in_turn(places, rounds, left_out)
    rows = {
        name: Row(sizes=place.sizes, runs=runs.get(name, []), memory=place.memory, notes=place.notes)
        for name, place in places.items()
        if name not in left_out
    }
    return Result(
        machine=this_machine(),
        model=bundle.manifest.model,
        precision=bundle.pick_precision(None),
        load=(before, os.getloadavg()[0]),
        real_time=real_time,
        rows=rows,
        left_out=left_out,
    )


def _start_in_turn(places: Mapping[str, Place], rounds: int, left_out: dict[str, str]) -> dict[str, list[Run]]:
    """The runs of each place. One that fails is put into ``left_out``."""
    starts = {name: place.start for name, place in places.items() if place.start}
    runs: dict[str, list[Run]] = {name: [] for name in starts}
    for number in range(-1, rounds):
        order = list(starts)
        for name in order[number % len(order) :] + order[: number % len(order)] if order else []:
            try:
                run = starts[name]()
            except StartError as error:
                left_out[name] = str(error)
                del starts[name]
                continue
            if number >= 0:
                runs[name].append(run)
        click.echo(f"round {number + 1} of {rounds}", err=True)
    return runs


if __name__ == "__main__":
    main()
