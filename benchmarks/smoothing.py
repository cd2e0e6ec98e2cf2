"""What does smoothing cost? The int8 graph with and without it, in turns, on one thread.

python benchmarks/smoothing.py --help
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import median

import click
from onnx import ModelProto

from embedge.bundle.manifest import TOKENIZER
from embedge.errors import EmbedgeError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.graph.encoder import build_graph
from embedge_export.int8.calibrate import calibrate
from embedge_export.int8.calibration_texts import calibration_texts
from embedge_export.int8.quantise import quantise
from embedge_export.int8.smooth import smooth
from machine import describe, this_machine
from peers.workbench import open_workbench
from side_by_side import in_turns, open_graph, random_ids, times_faster

_SHAPES = ((1, 10), (16, 16), (1, 256), (8, 256))  # texts, tokens


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-m", "--model", default="all-MiniLM-L6-v2", show_default=True, help="Recipe, hub id or checkpoint's DIR."
)
@click.option("--like", metavar="RECIPE", help="What a directory was fine-tuned from.")
@click.option("--rounds", type=click.IntRange(min=3), default=40, show_default=True, help="Turns for each shape.")
def main(model: str, like: str | None, rounds: int) -> None:
    """Measure the speed of an int8 graph against the same without smoothing.

    The two run in turns on one thread; a row's ratio is the median over the turns of time without by time with, so
    above 1 the smoothed graph is the faster.
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
        times = in_turns(sessions, random_ids(texts, tokens, vocabulary), rounds)
        plain, smoothed = (f"{median(times[name]):.2f}" for name in ("plain", "smoothed"))
        ratio = times_faster(times, "smoothed", than="plain")
        click.echo(f"| {texts} x {tokens} | {plain} | {smoothed} | {ratio:.3f} |")


def _graphs(checkpoint: Checkpoint, tokenizer: Path) -> Mapping[str, ModelProto]:
    """The int8 graph with and without smoothing."""
    model = build_graph(checkpoint)
    texts, _ = calibration_texts()
    activations = calibrate(model, texts, tokenizer=tokenizer, max_tokens=checkpoint.max_tokens)
    return {"plain": quantise(model, activations), "smoothed": quantise(*smooth(model, activations))}


if __name__ == "__main__":
    main()
