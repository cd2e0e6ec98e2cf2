"""Figures of speed: kept as JSON, drawn as bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click

from chart import colour
from machine import Machine
from peers import SPEED_PEERS, choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One kind of text, or of situation.

    Attributes:
        values: of every round, by peer.
        times_better: embedge against each: the median over the rounds of the ratio in one round.
        memory: bytes at most held by the peer's process; empty where it is not what is measured.
    """

    values: Mapping[str, Sequence[float]]
    times_better: Mapping[str, float]
    memory: Mapping[str, float] = field(default_factory=dict)


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


def list_peers(patterns: Sequence[str]) -> None:
    """The peers that can be measured, a line each, and what is missing here."""
    peers = choose([] if "all" in patterns else patterns, SPEED_PEERS)
    width = max(len(peer.name) for peer in peers)
    for peer in peers:
        absent = f" (not installed: {', '.join(peer.missing())})" if peer.missing() else ""
        click.echo(f"{peer.name:<{width}}  {peer.about}{absent}")


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
        axes.bar_label(drawn, [f"{middle[name]:.3g}" for name in names], padding=3, fontsize=8)
        axes.set_title(kind)
        axes.set_xlabel(result.what)
        axes.margins(x=0.15)
    figure.suptitle(f"{result.model}, {result.threads} cores of {result.machine.processor}", fontsize=9)
    figure.savefig(path, dpi=150)
