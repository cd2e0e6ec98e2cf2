"""Report the results of the speed benchmarks: tables, JSON and bar charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

import click

from benchmarks.measure.comparison import Comparison, PairedRuns
from benchmarks.measure.options import Setup
from benchmarks.report.charts import colour
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures for one kind of text or situation.

    Attributes:
        values: the figures of all rounds, by peer.
        times_better: how many times better embedge is than each peer, the median over the rounds.
        memory: the peak bytes of each peer's process; empty where memory is not measured.
    """

    values: Mapping[str, Sequence[float]]
    times_better: Mapping[str, float]
    memory: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: PairedRuns, memory: PairedRuns | None = None, *, lower_is_better: bool) -> Self:
        """Summarise paired runs."""
        return cls(
            values=runs.values,
            times_better=runs.times_better(lower_is_better=lower_is_better),
            memory={name: median(peaks) for name, peaks in memory.values.items()} if memory else {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedResult:
    """One run of a benchmark.

    Attributes:
        what: the measured quantity, with its unit.
        model: the model of all peers.
        threads: the number of cores for each peer.
        figures: the figures, by kind of text.
        left_out: the reason for each peer that is left out, by name.
        machine: where the run took place.
    """

    what: str
    model: str
    threads: int
    figures: Mapping[str, Figures]
    left_out: Mapping[str, str]
    machine: Machine


def publish(setup: Setup, comparison: Comparison, *, what: str, figures: Mapping[str, Figures]) -> None:
    """Print the tables, and write the JSON and the chart that the setup asks for."""
    result = SpeedResult(
        what=what,
        model=comparison.model,
        threads=setup.threads,
        figures=figures,
        left_out=comparison.left_out,
        machine=this_machine(),
    )
    click.echo(f"{result.model}, {result.threads} cores")
    click.echo(describe(result.machine))
    for kind, of_kind in figures.items():
        click.echo(f"\n{align([(kind, what, 'embedge speed-up', 'peak MB'), *_cells(of_kind)])}")
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")
    if setup.json_file:
        write_json(result, setup.json_file)
    if setup.plot:
        bars(result, setup.plot)


def _cells(figures: Figures) -> list[tuple[str, ...]]:
    """One row per peer, the best first."""
    return [
        (
            name,
            f"{median(figures.values[name]):.4g}",
            f"{figures.times_better[name]:.2f}",
            f"{figures.memory[name] / 1e6:.0f}" if name in figures.memory else "",
        )
        for name in sorted(figures.values, key=lambda name: figures.times_better[name])
    ]


def bars(result: SpeedResult, path: Path) -> None:
    """Draw a PNG or SVG, by the suffix of the path: a panel for each kind, a bar for each peer, the best on top."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: smaller, and searchable
    most = max(len(figures.values) for figures in result.figures.values())
    figure = Figure(figsize=(6.5 * len(result.figures), 0.32 * most + 1.6), layout="constrained")
    panels = figure.subplots(1, len(result.figures), squeeze=False)[0]
    for axes, (kind, figures) in zip(panels, result.figures.items(), strict=True):
        middle = {name: median(values) for name, values in figures.values.items()}
        # The best peer is the one over which embedge has the smallest speed-up.
        names = sorted(middle, key=lambda name: -figures.times_better[name])
        drawn = axes.barh(names, [middle[name] for name in names], color=[colour(name) for name in names])
        axes.bar_label(
            drawn,
            [f"{middle[name]:,.0f}" if middle[name] >= 100 else f"{middle[name]:.3g}" for name in names],
            padding=3,
            fontsize=8,
        )
        axes.set_title(kind)
        axes.set_xlabel(result.what)
        axes.margins(x=0.2)
    figure.suptitle(f"{result.model}, {result.threads} cores of {result.machine.processor}", fontsize=9)
    figure.savefig(path, dpi=150)
