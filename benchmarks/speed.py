"""Figures of speed: kept as JSON, drawn as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

import click

from chart import colour
from contest import Contest, Turns
from machine import Machine, describe, this_machine
from options import Setup
from report import align, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One kind of text, or of situation.

    Attributes:
        values: of every round, by peer.
        times_better: embedge against each, the median over its turns.
        memory: bytes at most held by the peer's process; empty where it is not what is measured.
    """

    values: Mapping[str, Sequence[float]]
    times_better: Mapping[str, float]
    memory: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, turns: Turns, memory: Turns | None = None, *, lower_is_better: bool) -> Self:
        """What was found in turns."""
        return cls(
            values=turns.values,
            times_better=turns.times_better(lower_is_better=lower_is_better),
            memory={name: median(peaks) for name, peaks in memory.values.items()} if memory else {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedResult:
    """A run.

    Attributes:
        what: was measured, and in which unit.
        model: that all peers are made of.
        threads: cores for each.
        figures: by kind.
        left_out: peers that are not there, and why.
        machine: where it was measured.
    """

    what: str
    model: str
    threads: int
    figures: Mapping[str, Figures]
    left_out: Mapping[str, str]
    machine: Machine


def publish(setup: Setup, contest: Contest, *, what: str, figures: Mapping[str, Figures]) -> None:
    """Print the tables; write and draw them where the setup says."""
    result = SpeedResult(
        what=what,
        model=contest.model,
        threads=setup.threads,
        figures=figures,
        left_out=contest.left_out,
        machine=this_machine(),
    )
    click.echo(f"{result.model}, {result.threads} cores")
    click.echo(describe(result.machine))
    for kind, found in figures.items():
        click.echo(f"\n{align([(kind, what, 'embedge is x times', 'peak MB'), *_cells(found)])}")
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")
    if setup.json_file:
        write_json(result, setup.json_file)
    if setup.plot:
        bars(result, setup.plot)


def _cells(figures: Figures) -> list[tuple[str, ...]]:
    """A row for each peer, the best first."""
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
    """A PNG or SVG by the path's ending: a panel for each kind, a bar for each peer, the best on top."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: smaller, and it can be searched
    most = max(len(figures.values) for figures in result.figures.values())
    figure = Figure(figsize=(6.5 * len(result.figures), 0.32 * most + 1.6), layout="constrained")
    panels = figure.subplots(1, len(result.figures), squeeze=False)[0]
    for axes, (kind, figures) in zip(panels, result.figures.items(), strict=True):
        middle = {name: median(values) for name, values in figures.values.items()}
        # The best is the one that embedge is the least ahead of.
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
