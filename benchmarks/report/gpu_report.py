"""Report the results of the GPU benchmark: one table with a row for each peer, and the memory along many texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import click

from benchmarks.measure.device_memory import Device
from benchmarks.measure.gpu_start import Start
from benchmarks.report.machine_info import Machine, describe
from benchmarks.report.speed_report import Figures
from benchmarks.report.tables import align


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """embedge with many texts of mixed lengths, in a process of its own.

    Attributes:
        texts: the number of all texts.
        texts_per_second: the speed of each part, in order.
        memory: the device's memory that the process takes after each part, in bytes; None where it is not measured.
    """

    texts: int
    texts_per_second: Sequence[float]
    memory: Sequence[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuResult:
    """One run of the benchmark.

    Attributes:
        model: the model of all peers.
        device: where all peers ran.
        threads: the number of cores for each peer.
        figures: texts per second, short and long, and the milliseconds of a query.
        starts: what a new process of each peer shows.
        mixed: memory along many texts.
        left_out: the reason for each peer that is left out, by name.
        machine: the machine of the device.
    """

    model: str
    device: Device
    threads: int
    figures: Mapping[str, Figures]
    starts: Mapping[str, Start]
    mixed: Mixed
    left_out: Mapping[str, str]
    machine: Machine


def print_result(result: GpuResult) -> None:
    """Print the tables, and what they depend on."""
    print_device(result.model, result.device, result.machine)
    for kind, figures in result.figures.items():
        unit = "ms" if kind == "query" else "texts/s"
        rows = [
            (name, f"{median(values):.4g}", f"{figures.times_better[name]:.2f}", _batch(result.starts[name], kind))
            for name, values in figures.values.items()
        ]
        click.echo(f"\n{align([(kind, unit, 'speed-up of embedge-fp16', 'batch'), *rows])}")
    header = ("new process", "load s", "first text ms", "new length ms", "again ms", "loaded MB", "peak MB")
    click.echo(f"\n{align([header, *(_start_row(name, start) for name, start in result.starts.items())])}")
    mixed = result.mixed
    click.echo(f"\nmemory along {mixed.texts:,} mixed texts, MB: {', '.join(map(megabytes, mixed.memory))}")
    if (middle := mixed.memory[(len(mixed.memory) - 1) // 2]) is not None and (last := mixed.memory[-1]) is not None:
        click.echo(f"growth over the second half, MB: {megabytes(last - middle)}")
    click.echo(f"texts per second: {', '.join(f'{rate:.0f}' for rate in mixed.texts_per_second)}")
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")


def print_device(model: str, device: Device, machine: Machine) -> None:
    """Print the card, its driver, the machine and the versions of the packages."""
    card = device.name
    if device.memory is not None:
        card += f", {device.memory / 1e9:.1f} GB, driver {device.driver}"
    click.echo(f"{model} on {card}")
    click.echo(describe(machine))
    click.echo(", ".join(f"{name} {version}" for name, version in machine.packages.items()))
    click.echo(f"memory: {device.measured}")


def megabytes(count: int | None) -> str:
    """A number of bytes in MB; a dash if it was not measured.

    >>> megabytes(2_400_000_000), megabytes(None)
    ('2400', '-')
    """
    return "-" if count is None else f"{count / 1e6:.0f}"


def _batch(start: Start, kind: str) -> str:
    """The batch size of a kind of text; a query has none."""
    chosen = start.batch.get(kind)
    return "" if kind not in start.batch else "default" if chosen is None else str(chosen)


def _start_row(name: str, start: Start) -> tuple[str, ...]:
    """One row. Of the times of several lengths, it has the largest."""
    return (
        name,
        f"{start.load_seconds:.2f}",
        f"{start.first_ms:.1f}",
        f"{max(start.new_ms, default=0):.1f}",
        f"{max(start.again_ms, default=0):.1f}",
        megabytes(start.memory_loaded),
        megabytes(start.memory_peak),
    )
