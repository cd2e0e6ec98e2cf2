"""Where does the time go? embedge's int8 graph on one core, operator by operator, by ONNX Runtime's own profiler.

python benchmarks/operators.py --help
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

from contest import OWN, open_contest
from embedge.bundle.directory import Bundle
from machine import Machine, describe, this_machine
from options import Setup, contest_options
from report import align, write_json
from side_by_side import random_ids

SHAPES = ((1, 10), (16, 16), (1, 256), (1, 512))  # texts, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A run.

    Attributes:
        model: what was profiled.
        milliseconds: of one run, by its shape and by operator; the attention of an ``If`` counts once, as itself.
        machine: where it was measured.
    """

    model: str
    milliseconds: Mapping[str, Mapping[str, float]]
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@contest_options
@click.option("--runs", type=click.IntRange(min=1), default=30, show_default=True, help="For each shape.")
def main(setup: Setup, runs: int) -> None:
    """Measure the milliseconds that each kind of operator takes in one run of the int8 graph, on one core.

    \b
    python benchmarks/operators.py --shape base
    """
    with open_contest(replace(setup, patterns=(OWN,), threads=1)) as contest:
        bundle, vocabulary = Bundle.open(contest.entrants[0].kit.folder / "bundle"), contest.config["vocab_size"]
        found = {
            f"{texts} x {tokens}": profile(bundle.graph("int8"), random_ids(texts, tokens, vocabulary), runs)
            for texts, tokens in SHAPES
        }
    result = Profile(model=contest.model, milliseconds=found, machine=this_machine())
    click.echo(f"{result.model}, one core\n{describe(result.machine)}\n")
    operators = sorted({name for times in found.values() for name in times}, key=lambda name: -_most(found, name))
    rows = [(name, *(f"{times.get(name, 0):.2f}" for times in found.values())) for name in operators]
    total = ("all", *(f"{sum(times.values()):.2f}" for times in found.values()))
    click.echo(align([("ms, texts x tokens", *found), *rows, total]))
    if setup.json_file:
        write_json(result, setup.json_file)


def _most(found: Mapping[str, Mapping[str, float]], name: str) -> float:
    return max(times.get(name, 0) for times in found.values())


def profile(graph: Path, ids: NDArray[np.int64], runs: int) -> dict[str, float]:
    """Milliseconds of one run by operator, on average; the first is among them, so there should be many."""
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
    del times["If"]  # which is the attention within it, counted there
    return {name: microseconds / runs / 1000 for name, microseconds in times.items()}


if __name__ == "__main__":
    main()
