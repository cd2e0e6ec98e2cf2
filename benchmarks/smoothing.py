"""Measure the cost of smoothing: the int8 graph with and without it, interleaved, on one thread.

python -m benchmarks.smoothing --help
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import median

import click
from onnx import ModelProto

from benchmarks.measure.graph_timing import open_graph, random_ids, time_interleaved, times_faster
from benchmarks.peers.workbench import open_workbench
from benchmarks.report.machine_info import describe, this_machine
from embedge.bundle.manifest import TOKENIZER
from embedge.errors import EmbedgeError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.graph.encoder import build_graph
from embedge_export.int8.calibrate import calibrate
from embedge_export.int8.calibration_texts import calibration_texts
from embedge_export.int8.quantise import quantise
from embedge_export.int8.smooth import smooth

_SHAPES = ((1, 10), (16, 16), (1, 256), (8, 256))  # texts, tokens


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-m", "--model", default="all-MiniLM-L6-v2", show_default=True, help="Recipe, hub id or checkpoint directory."
)
@click.option("--like", metavar="RECIPE", help="Model that -m was fine-tuned from.")
@click.option("--rounds", type=click.IntRange(min=3), default=40, show_default=True, help="Rounds for each shape.")
def main(model: str, like: str | None, rounds: int) -> None:
    """Measure the speed of an int8 graph with and without smoothing.

    The two graphs run in turn on one thread. A ratio is the median over the rounds of the time without smoothing
    divided by the time with it. Above 1, the smoothed graph is faster.
    """
    click.echo(describe(this_machine()))
    try:
        with open_workbench(model, like=like, threads=1) as bench:
            sessions = {
                name: open_graph(graph, bench.folder / f"{name}.onnx", bench.checkpoint.dimension)
                for name, graph in _graphs(bench.checkpoint, bench.folder / TOKENIZER).items()
            }
            vocabulary = bench.checkpoint.config["vocab_size"]
    except EmbedgeError as error:
        raise click.ClickException(str(error)) from error
    click.echo("| texts x tokens | plain, ms | smoothed, ms | plain / smoothed |\n| --- | ---: | ---: | ---: |")
    for texts, tokens in _SHAPES:
        times = time_interleaved(sessions, random_ids(texts, tokens, vocabulary), rounds)
        plain, smoothed = (f"{median(times[name]):.2f}" for name in ("plain", "smoothed"))
        ratio = times_faster(times, "smoothed", than="plain")
        click.echo(f"| {texts} x {tokens} | {plain} | {smoothed} | {ratio:.3f} |")


def _graphs(checkpoint: Checkpoint, tokenizer: Path) -> Mapping[str, ModelProto]:
    """The int8 graph without smoothing, and the one with it."""
    model = build_graph(checkpoint)
    texts, _ = calibration_texts()
    activations = calibrate(model, texts, tokenizer=tokenizer, max_tokens=checkpoint.max_tokens)
    return {"plain": quantise(model, activations), "smoothed": quantise(*smooth(model, activations))}


if __name__ == "__main__":
    main()
