"""The command-line options that all benchmarks of speed share."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from benchmarks.data.seeded import SHAPES
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
    """

    patterns: tuple[str, ...]
    shape: str
    model: str | None
    like: str | None
    threads: int
    json_file: Path | None
    plot: Path | None
    device: str = "cpu"


_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option(
        "--shape",
        type=click.Choice(list(SHAPES)),
        default="small",
        show_default=True,
        help="Size of the BGE model, with random weights.",
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
        **own: int | str,
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
