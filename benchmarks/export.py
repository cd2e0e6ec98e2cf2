"""Measure what an export takes: seconds and memory, for checkpoints of published shapes with seeded random weights.

python -m benchmarks.export --help
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.data.datasets import DataNotFoundError, data_folder
from benchmarks.data.seeded import SHAPES, write_seeded
from benchmarks.data.seeded_m3 import write_whole_m3
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json

_M3 = {"m3": False, "reranker-m3": True}  # whether it is a reranker
_MODEL = "bge-small-en-v1.5"  # the folder of test data has its config and tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one export.

    Attributes:
        shape: the shape of the checkpoint.
        checkpoint_bytes: the size of its weights.
        seconds: the time from the start of the command to its end.
        processor_seconds: the time on processors, all cores added up.
        bytes: the peak resident memory.
        log: the lines of the command.
    """

    shape: str
    checkpoint_bytes: int
    seconds: float
    processor_seconds: float
    bytes: int
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All exports.

    Attributes:
        machine: the machine.
        options: the options of ``embedge export``.
        costs: one for each shape.
    """

    machine: Machine
    options: tuple[str, ...]
    costs: tuple[Cost, ...]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-s", "--shape", "shapes", multiple=True, type=click.Choice([*SHAPES, *_M3]), help="Shape; the default is small."
)
@click.option("--precision", "precisions", multiple=True, help="Precision; the default is int8.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Whether the export verifies its graphs.")
@click.option("--folder", type=click.Path(path_type=Path), help="Folder for checkpoints; the largest take 3 GB.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the result to this file.")
def main(
    shapes: Sequence[str], precisions: Sequence[str], verify: bool, folder: Path | None, json_path: Path | None
) -> None:
    """Export a checkpoint of each shape in a process of its own, and print its time and memory.

    The weights are seeded and random. Such a graph is further from fp32 than that of a trained model, so the export of
    a deep one mends it, which takes time, too.
    """
    machine = this_machine()
    click.echo(describe(machine))
    options = [word for name in precisions for word in ("--precision", name)]
    options.append("--accept-quality" if verify else "--no-verify")
    costs: list[Cost] = []
    try:
        for shape in shapes or ("small",):
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                costs.append(measure(shape, Path(scratch), options))
            click.echo("\n".join(costs[-1].log))
    except DataNotFoundError as error:
        raise click.ClickException(str(error)) from error
    header = ["shape", "checkpoint, MB", "seconds", "processor seconds", "peak memory, MB"]
    click.echo(align([header, *map(_row, costs)]))
    if json_path is not None:
        write_json(Result(machine=machine, options=tuple(options), costs=tuple(costs)), json_path)


def measure(shape: str, folder: Path, options: Sequence[str]) -> Cost:
    """Write a checkpoint of a shape into a folder, and export it with these options of ``embedge export``."""
    checkpoint = folder / "checkpoint"
    if shape in _M3:
        write_whole_m3(checkpoint, rerank=_M3[shape])
    else:
        write_seeded(shape, data_folder() / _MODEL, checkpoint)
    command = [sys.executable, "-m", "embedge", "export", str(checkpoint), "-o", str(folder / "bundle"), *options]
    start = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        log = child.stderr.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if child.returncode:
        raise click.ClickException(log.strip() or f"the export ended with {child.returncode}")
    size = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    shutil.rmtree(folder / "bundle")
    return Cost(
        shape=shape,
        checkpoint_bytes=size,
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        bytes=usage.ru_maxrss * 1024,
        log=tuple(line for line in log.splitlines() if re.match(r"\w+ ", line)),
    )


def _row(cost: Cost) -> list[str]:
    return [
        cost.shape,
        f"{cost.checkpoint_bytes / 1e6:.0f}",
        f"{cost.seconds:.1f}",
        f"{cost.processor_seconds:.1f}",
        f"{cost.bytes / 1e6:.0f}",
    ]


if __name__ == "__main__":
    main()
