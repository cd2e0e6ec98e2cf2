"""Report the results of the benchmark of servers: a table and JSON."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click

from benchmarks.measure.comparison import Comparison
from benchmarks.measure.options import Setup
from benchmarks.peers.table import Peer
from benchmarks.peers.virtual_environment import python_with
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json

_ASK = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
_HEAD = ("", "texts/s", "p50 ms", "p99 ms", "idle ms", "memory MB", "start s", "cosine")


@dataclass(slots=True, kw_only=True)
class ServerFigures:
    """What was measured of one row: a number for each round.

    Attributes:
        rate: texts a second.
        p50: median seconds of a request under load; likewise ``p99``. Empty for plain calls.
        p99: see ``p50``.
        idle: median seconds of a text that is asked for alone.
        memory: bytes of the processes after the load.
        start: seconds from the start of the command to the first answer.
        cosine: smallest cosine of a vector with that of embedge's own row; None for a server that was running already.
        version: the package and its version.
    """

    rate: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    start: float | None = None
    cosine: float | None = None
    version: str = ""

    def cells(self, name: str) -> tuple[str, ...]:
        """A row of the table."""
        return (
            name,
            _shown(self.rate, 1, ".0f"),
            *(_shown(values, 1e3, ".2f") for values in (self.p50, self.p99, self.idle)),
            _shown(self.memory, 1e-6, ".0f"),
            "" if self.start is None else f"{self.start:.2f}",
            "" if self.cosine is None else f"{self.cosine:.4f}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerResult:
    """One run of the benchmark.

    Attributes:
        model: the model of all servers.
        threads: the number of cores for each.
        clients: the number of requests at a time.
        plain: figures of ``Embedder.encode`` in one call, by row of embedge.
        servers: figures of the servers, by row.
        left_out: the reason for each row that is left out, by name.
        machine: where the run took place.
    """

    model: str
    threads: int
    clients: int
    plain: Mapping[str, ServerFigures]
    servers: Mapping[str, ServerFigures]
    left_out: Mapping[str, str]
    machine: Machine


def publish(
    setup: Setup,
    comparison: Comparison,
    *,
    clients: int,
    plain: Mapping[str, ServerFigures],
    servers: Mapping[str, ServerFigures],
) -> None:
    """Print the table, and write the JSON that the setup asks for."""
    result = ServerResult(
        model=comparison.model,
        threads=setup.threads,
        clients=clients,
        plain=plain,
        servers=servers,
        left_out=comparison.left_out,
        machine=this_machine(),
    )
    click.echo(f"{result.model}, {result.threads} cores, {clients} requests of one text at a time")
    click.echo(describe(result.machine))
    rows = [figures.cells(f"`Embedder.encode`, {name}") for name, figures in plain.items()]
    rows += [figures.cells(name) for name, figures in servers.items()]
    click.echo(f"\n{align([_HEAD, *rows])}\n")
    for name, figures in plain.items():
        ratios = [theirs / own for theirs, own in zip(servers[name].rate, figures.rate, strict=True)]
        click.echo(f"{name}: the server has {median(ratios):.2f} of the rate of one call")
    for name, figures in servers.items():
        click.echo(f"{name}: {figures.version}")
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")
    if setup.json_file:
        write_json(result, setup.json_file)


def version_of(peer: Peer) -> str:
    """The package that runs a row, and its version in the row's environment."""
    package = {"infinity": "infinity-emb", "llama_server": "llama-cpp-python"}.get(peer.module, peer.module)
    command = [str(python_with(peer.environment, peer.without)), "-c", _ASK, package]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path.home())
    return f"{package} {done.stdout.strip() or 'of unknown version'}"


def _shown(values: Sequence[float], scale: float, form: str) -> str:
    return format(median(values) * scale, form) if values and median(values) else ""
