"""Measure embedge's fused kernels with each instruction set of this processor, against the plain graph, on one core.

python -m benchmarks.instruction_sets --help
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.measure.comparison import Comparison, open_comparison
from benchmarks.measure.graph_timing import times_faster
from benchmarks.measure.instruction_set_child import Order
from benchmarks.measure.kernels import MISSING, instruction_sets, kernel_library
from benchmarks.measure.options import Setup, comparison_options
from benchmarks.measure.processor_peak import measure_peak
from benchmarks.operators import SHAPES
from benchmarks.peers.process import child_environment
from benchmarks.peers.table import FORCE, INSTRUCTION_SETS, OWN
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json
from embedge.bundle.directory import Bundle

_PLAIN = "plain graph"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of one instruction set.

    Attributes:
        milliseconds: the time of each round, by shape of the batch and by graph, ``plain`` or ``fused``.
        gops: billions of operations per second in the kernels' linear layers; a multiply-add is two operations.
        checksum: the CRC-32 of the fused graph's outputs for all shapes.
    """

    milliseconds: Mapping[str, Mapping[str, list[float]]]
    gops: float
    checksum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of the benchmark.

    Attributes:
        model: the name of the model.
        timings: the times, by instruction set, the best first.
        left_out: the reason for each instruction set that failed, by name.
        peak: billions of operations per second in ONNX Runtime's best int8 product, on one core.
        machine: where the run took place.
    """

    model: str
    timings: Mapping[str, Timing]
    left_out: Mapping[str, str]
    peak: float
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@click.option(
    "--rounds", type=click.IntRange(min=1), default=20, show_default=True, help="Runs of each batch, at most."
)
@click.option(
    "--only",
    type=click.Choice(INSTRUCTION_SETS),
    multiple=True,
    help="Instruction sets to measure. Default: all of this processor. You can repeat this option.",
)
def main(setup: Setup, rounds: int, only: tuple[str, ...]) -> None:
    """Measure the milliseconds of four batches with each instruction set that this processor can run, on one core.

    Each instruction set has a process of its own, in which the plain and the fused graph run in turns. A speed-up is
    the median ratio of the turns. The rate of the linear layers is that of the layer's four products alone, each with
    the quantisation of its 256 rows. A batch has a few seconds, so a slow instruction set has fewer rounds. The last
    line says whether all instruction sets give the same bits.

    \b
    python -m benchmarks.instruction_sets --shape base
    python -m benchmarks.instruction_sets --only avx2 --only avx512_vnni
    """
    if kernel_library() is None:
        raise click.ClickException(MISSING)
    with open_comparison(replace(setup, patterns=(OWN,), threads=1)) as comparison:
        result = _measure(comparison, only or instruction_sets(), rounds)
    _print(result)
    if setup.json_file:
        write_json(result, setup.json_file)


def _measure(comparison: Comparison, names: Sequence[str], rounds: int) -> Result:
    order = _order(comparison, rounds)
    timings: dict[str, Timing] = {}
    left_out: dict[str, str] = {}
    for name in names:
        click.echo(f"{name}: running", err=True)
        command = [sys.executable, "-m", "benchmarks.measure.instruction_set_child", json.dumps(asdict(order))]
        root = Path(__file__).parents[1]
        done = subprocess.run(
            command, cwd=root, env=child_environment() | {FORCE: name}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            left_out[name] = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        else:
            timings[name] = Timing(**json.loads(done.stdout))
    if not timings:
        raise click.ClickException("; ".join(f"{name}: {why}" for name, why in left_out.items()))
    peak = 2 * measure_peak("int8") / 1e9
    return Result(model=comparison.model, timings=timings, left_out=left_out, peak=peak, machine=this_machine())


def _order(comparison: Comparison, rounds: int) -> Order:
    bundle = Bundle.open(comparison.peers[0].kit.folder / "bundle")
    plain, fused = bundle.graph("int8"), bundle.fused_graph("int8")
    if fused is None:
        raise click.ClickException(
            f"no fused graph beside {plain.name}: its shape is none that the kernels run; pass another model as -m"
        )
    return Order(
        library=str(kernel_library()),
        plain=str(plain),
        fused=str(fused),
        shapes=[shape for shape in SHAPES if shape[1] <= comparison.max_tokens],
        vocabulary=comparison.config["vocab_size"],
        products=_products(comparison.config),
        rounds=rounds,
    )


def _products(config: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Inputs and outputs of the linear layers in one layer of the encoder.

    >>> _products({"hidden_size": 384, "intermediate_size": 1536})
    [(384, 1152), (384, 384), (384, 1536), (1536, 384)]
    """
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    return [(hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden)]


def _print(result: Result) -> None:
    click.echo(f"{result.model}, one core\n{describe(result.machine)}\n")
    shapes = list(next(iter(result.timings.values())).milliseconds)
    plain = (_PLAIN, *(f"{_plain_median(result, shape):.2f}" for shape in shapes))
    rows = [
        (name, *(f"{median(timing.milliseconds[shape]['fused']):.2f}" for shape in shapes))
        for name, timing in result.timings.items()
    ]
    click.echo(align([("ms, texts x tokens", *shapes), plain, *rows]) + "\n")
    rows = [
        (
            name,
            *(f"{times_faster(timing.milliseconds[shape], 'fused', than='plain'):.2f}" for shape in shapes),
            f"{timing.gops:.0f}",
        )
        for name, timing in result.timings.items()
    ]
    click.echo(align([(f"speed-up over the {_PLAIN}", *shapes, "GOPS, linear"), *rows]) + "\n")
    click.echo(f"ONNX Runtime's best int8 product: {result.peak:.0f} GOPS")
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")
    click.echo(_compare_outputs(result.timings))


def _plain_median(result: Result, shape: str) -> float:
    return median(time for timing in result.timings.values() for time in timing.milliseconds[shape]["plain"])


def _compare_outputs(timings: Mapping[str, Timing]) -> str:
    """Whether all instruction sets give the same bits."""
    groups: dict[int, list[str]] = {}
    for name, timing in timings.items():
        groups.setdefault(timing.checksum, []).append(name)
    if len(groups) == 1:
        return f"the outputs of {', '.join(timings)} are bitwise equal"
    return f"the outputs differ: {' | '.join(', '.join(names) for names in groups.values())}"


if __name__ == "__main__":
    main()
