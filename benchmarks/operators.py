"""Profile embedge's int8 graph with ONNX Runtime's profiler: the time of each kind of operator, on one core.

python -m benchmarks.operators --help
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.measure.comparison import OWN, open_comparison
from benchmarks.measure.graph_timing import random_ids
from benchmarks.measure.options import Setup, comparison_options
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json
from embedge.bundle.directory import Bundle

SHAPES = ((1, 10), (16, 16), (1, 256), (1, 512))  # texts, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One run of the benchmark.

    Attributes:
        model: the name of the model.
        milliseconds: the time of one run of the graph, by shape and by operator. Attention inside an ``If`` counts
            once, as attention.
        machine: where the run took place.
    """

    model: str
    milliseconds: Mapping[str, Mapping[str, float]]
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@click.option("--runs", type=click.IntRange(min=1), default=30, show_default=True, help="Runs of each shape.")
def main(setup: Setup, runs: int) -> None:
    """Measure the milliseconds of each kind of operator in one run of the int8 graph, on one core.

    \b
    python -m benchmarks.operators --shape base
    """
    with open_comparison(replace(setup, patterns=(OWN,), threads=1)) as comparison:
        bundle, vocabulary = Bundle.open(comparison.peers[0].kit.folder / "bundle"), comparison.config["vocab_size"]
        profiles = {
            f"{texts} x {tokens}": profile(bundle.graph("int8"), random_ids(texts, tokens, vocabulary), runs)
            for texts, tokens in SHAPES
        }
    result = Profile(model=comparison.model, milliseconds=profiles, machine=this_machine())
    click.echo(f"{result.model}, one core\n{describe(result.machine)}\n")
    operators = sorted({name for times in profiles.values() for name in times}, key=lambda name: -_most(profiles, name))
    rows = [(name, *(f"{times.get(name, 0):.2f}" for times in profiles.values())) for name in operators]
    total = ("all", *(f"{sum(times.values()):.2f}" for times in profiles.values()))
    click.echo(align([("ms, texts x tokens", *profiles), *rows, total]))
    if setup.json_file:
        write_json(result, setup.json_file)


def _most(profiles: Mapping[str, Mapping[str, float]], name: str) -> float:
    return max(times.get(name, 0) for times in profiles.values())


def profile(graph: Path, ids: NDArray[np.int64], runs: int) -> dict[str, float]:
    """The mean milliseconds of one run, by operator. The slow first run is included, so use many runs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
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
