"""The command-line options that all benchmarks of speed share."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import click

from benchmarks.data.seeded import SHAPES
from benchmarks.peers.table import INSTRUCTION_SETS, OWN
from embedge.inference.cpu import usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The values of the shared options.

    Attributes:
        patterns: patterns of peer names; no pattern, or "all", means all peers.
        shape: the published model whose shape the random weights have, where ``model`` is None.
        model: a recipe, hub id or directory of a checkpoint.
        like: the recipe of the model that a directory was fine-tuned from.
        threads: the number of cores for each peer.
        json_file: the file for the results, or None.
        plot: the file for the chart, or None.
        device: the device of all peers, ``cpu`` or a card, such as ``cuda``.
        baseline: the row of embedge with which all others are compared.
        instruction_sets: those for which embedge's fused kernels have a row of their own.
    """

    patterns: tuple[str, ...]
    shape: str
    model: str | None
    like: str | None
    threads: int
    json_file: Path | None
    plot: Path | None
    device: str = "cpu"
    baseline: str = OWN
    instruction_sets: tuple[str, ...] = ()


M3 = "m3"  # the shape of bge-m3, which is not BERT's, and has another tokenizer
_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option(
        "--shape",
        type=click.Choice([*SHAPES, M3]),
        default="small",
        show_default=True,
        help="Size of the BGE model, with random weights; m3 is bge-m3.",
    ),
    click.option("-m", "--model", help="Recipe, hub id or directory of a checkpoint to use instead of --shape."),
    click.option(
        "--like", metavar="RECIPE", help="Recipe of the model that -m was fine-tuned from, for pooling and prompts."
    ),
    click.option(
        "--peers",
        "patterns",
        metavar="NAME",
        multiple=True,
        help="Libraries to compare, such as 'openvino-*', or all. You can repeat this option.",
    ),
    click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use. Default: all."),
    click.option("--json", "json_file", type=_FILE, help="File for the results."),
    click.option("--plot", type=_FILE, help="File for a chart, .png or .svg."),
)


def comparison_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the shared options to a command, which receives them as a Setup before its own options."""

    @functools.wraps(command)
    def with_setup(
        patterns: tuple[str, ...],
        shape: str,
        model: str | None,
        like: str | None,
        threads: int | None,
        json_file: Path | None,
        plot: Path | None,
        **own: int | str | tuple[str, ...],
    ) -> None:
        # Fail before an hour of work, not after.
        if plot and find_spec("matplotlib") is None:
            raise click.UsageError("matplotlib is not installed; `pip install 'embedge[bench]'`, or leave out --plot")
        for file in (json_file, plot):
            if file and not file.parent.is_dir():
                raise click.UsageError(f"{file.parent} is not a directory; create it, or choose another")
        setup = Setup(
            patterns=patterns,
            shape=shape,
            model=model,
            like=like,
            threads=threads or usable_cores(),
            json_file=json_file,
            plot=plot,
        )
        command(setup, **own)

    for option in reversed(_OPTIONS):
        with_setup = option(with_setup)
    return with_setup


_KERNEL_OPTIONS = (
    click.option(
        "--baseline",
        metavar="NAME",
        default=OWN,
        show_default=True,
        help="embedge's row, with which all others are compared, such as embedge-int8-fused.",
    ),
    click.option(
        "--instruction-set",
        "instruction_sets",
        type=click.Choice(INSTRUCTION_SETS),
        multiple=True,
        help="Add a row for embedge's fused kernels, forced to these instructions. You can repeat this option.",
    ),
)


def kernel_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options about embedge's fused kernels, which a command receives in its Setup. Put it below the others."""

    @functools.wraps(command)
    def with_kernels(setup: Setup, baseline: str, instruction_sets: tuple[str, ...], **own: int | str) -> None:
        command(replace(setup, baseline=baseline, instruction_sets=instruction_sets), **own)

    for option in reversed(_KERNEL_OPTIONS):
        with_kernels = option(with_kernels)
    return with_kernels
