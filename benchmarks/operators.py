"""Profile embedge's int8 graphs with ONNX Runtime's profiler: the time of each kind of operator, on one core.

python -m benchmarks.operators --help
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.measure.comparison import open_comparison
from benchmarks.measure.graph_timing import random_ids
from benchmarks.measure.kernels import MISSING, chosen_instruction_set, kernel_library, one_core_options
from benchmarks.measure.options import Setup, comparison_options
from benchmarks.peers.table import OWN
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json
from embedge.bundle.directory import Bundle

Profiles = Mapping[str, Mapping[str, float]]
SHAPES = ((1, 10), (16, 16), (1, 256), (1, 512))  # texts, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One run of the benchmark.

    Attributes:
        model: the name of the model.
        milliseconds: the time of one run of the graph, by shape and by operator. Attention inside an ``If`` counts
            once, as attention.
        fused: the same for the graph of the fused kernels; None where they are not installed.
        machine: where the run took place.
    """

    model: str
    milliseconds: Profiles
    fused: Profiles | None
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@click.option("--runs", type=click.IntRange(min=1), default=30, show_default=True, help="Runs of each shape.")
def main(setup: Setup, runs: int) -> None:
    """Measure the milliseconds of each kind of operator in one run of the int8 graph, on one core.

    A second table has the graph of the fused kernels, if they are installed. In it, a whole layer is one operator.
    Set EMBEDGE_KERNELS_ISA to force an instruction set.

    \b
    python -m benchmarks.operators --shape base
    """
    with open_comparison(replace(setup, patterns=(OWN,), threads=1)) as comparison:
        bundle = Bundle.open(comparison.peers[0].kit.folder / "bundle")
        batches = [
            random_ids(texts, tokens, comparison.config["vocab_size"])
            for texts, tokens in SHAPES
            if tokens <= comparison.max_tokens
        ]
        library, fused = kernel_library(), bundle.fused_graph("int8")
        result = Profile(
            model=comparison.model,
            milliseconds=_profile_all(bundle.graph("int8"), batches, runs),
            fused=_profile_all(fused, batches, runs, library) if library and fused else None,
            machine=this_machine(),
        )
    click.echo(f"{result.model}, one core\n{describe(result.machine)}\n\n{_table(result.milliseconds)}\n")
    if library is None:
        click.echo(MISSING)
    elif result.fused is None:
        click.echo("the exporter wrote no fused graph for this model")
    else:
        click.echo(f"{_table(result.fused)}\n\nthe kernels use {chosen_instruction_set(library)}")
    if setup.json_file:
        write_json(result, setup.json_file)


def _table(profiles: Profiles) -> str:
    """A row for each kind of operator, the slowest first."""
    most = {name: max(times.get(name, 0) for times in profiles.values()) for of in profiles.values() for name in of}
    rows = [
        (name, *(f"{times.get(name, 0):.2f}" for times in profiles.values()))
        for name in sorted(most, key=lambda name: -most[name])
    ]
    total = ("all", *(f"{sum(times.values()):.2f}" for times in profiles.values()))
    return align([("ms, texts x tokens", *profiles), *rows, total])


def _profile_all(
    graph: Path, batches: Sequence[NDArray[np.int64]], runs: int, library: Path | None = None
) -> dict[str, dict[str, float]]:
    return {f"{len(ids)} x {ids.shape[1]}": profile(graph, ids, runs, library) for ids in batches}


def profile(graph: Path, ids: NDArray[np.int64], runs: int, library: Path | None = None) -> dict[str, float]:
    """The mean milliseconds of one run, by operator. The slow first run is included, so use many runs.

    Args:
        graph: the graph.
        ids: the batch, [texts, tokens].
        runs: the number of runs.
        library: the library with the graph's operators, for the graph of the fused kernels.
    """
    options = one_core_options(library)
    options.enable_profiling = True
    options.profile_file_prefix = str(graph.with_name("profile"))
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    for _ in range(runs):
        session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    times: Counter[str] = Counter()
    for event in json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            times[event["args"]["op_name"]] += event["dur"]
    del times["If"]  # its time is that of the attention inside it, which is counted there
    return {name: microseconds / runs / 1000 for name, microseconds in times.items()}


if __name__ == "__main__":
    main()
