"""What benchmarks/places.py finds, and its report."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from benchmarks.measure.process_start import Run
from benchmarks.report.machine_info import Machine, describe
from benchmarks.report.tables import align


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was found of a place.

    Attributes:
        sizes: bytes, by what they are the size of.
        runs: the starts, in order.
        memory: the peak resident bytes, where no start measures them.
        notes: what a reader must know of the figures.
    """

    sizes: Mapping[str, int]
    runs: list[Run] = field(default_factory=list)
    memory: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a run.

    Attributes:
        machine: where and when it took place.
        model: the bundle's model.
        precision: of its graph.
        load: the mean number of processes that wanted to run in the minute before the starts, and in their last one.
        real_time: whether the starts had real-time priority.
        rows: the places, by name.
        left_out: why others could not be measured, by name.
    """

    machine: Machine
    model: str
    precision: str
    load: tuple[float, float]
    real_time: bool
    rows: Mapping[str, Row]
    left_out: Mapping[str, str]


def report(result: Result) -> Iterator[str]:
    """The machine, the table in Markdown, the notes, and why a place was left out."""
    loads = " and ".join(f"{load:.1f}" for load in result.load)
    yield f"{describe(result.machine)}; Python {result.machine.python}"
    priority = ", with real-time priority" if result.real_time else ""
    yield f"{result.model} {result.precision}; load of the machine before and after the starts: {loads}{priority}"
    yield ""
    table = [("place", "size, MB", "first vector, ms", "fastest, ms", "starts", "peak MB")]
    yield align([*table, *(_cells(name, row) for name, row in result.rows.items())])
    yield ""
    yield from (f"- {name}: {'; '.join(row.notes)}" for name, row in result.rows.items() if row.notes)
    yield from (f"- left out: {name}: {why}" for name, why in result.left_out.items())


def _cells(name: str, row: Row) -> tuple[str, str, str, str, str, str]:
    sizes = ", ".join(f"{size / 1e6:.1f} {what}" for what, size in row.sizes.items())
    times = [run.milliseconds for run in row.runs]
    memory = median(run.bytes for run in row.runs) if row.runs else row.memory
    return (
        name,
        sizes,
        f"{median(times):.0f}" if times else "",
        f"{min(times):.0f}" if times else "",
        str(len(times)) if times else "",
        "" if memory is None else f"{memory / 1e6:.0f}",
    )
