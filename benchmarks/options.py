"""What every benchmark of speed may be told."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from embedge.inference.cpu import usable_cores
from seeded import SHAPES


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What to measure, and where the results go.

    Attributes:
        patterns: of peers' names; none, or "all", is all.
        shape: of a published model, with seeded weights; where ``model`` is None.
        model: recipe, hub id or directory of a checkpoint.
        like: recipe that a directory was fine-tuned from.
        threads: cores for each peer.
        json_file: for the results; None is nowhere.
        plot: for the picture.
    """

    patterns: tuple[str, ...]
    shape: str
    model: str | None
    like: str | None
    threads: int
    json_file: Path | None
    plot: Path | None


_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option("--shape", type=click.Choice(list(SHAPES)), default="small", show_default=True, help="bge's, seeded."),
    click.option("-m", "--model", help="Recipe, hub id or checkpoint's DIR, instead of seeded weights."),
    click.option("--like", metavar="RECIPE", help="What a directory was fine-tuned from: its pooling and prompts."),
    click.option("--peers", "patterns", metavar="NAME", multiple=True, help="Peers; * stands for anything; all."),
    click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use; all by default."),
    click.option("--json", "json_file", type=_FILE, help="Write the results there."),
    click.option("--plot", type=_FILE, help="Draw them there: .png or .svg."),
)


def contest_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command those options, as one Setup in front of its own."""

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
        for file in (json_file, plot):  # before an hour of work, not after
            if file and not file.parent.is_dir():
                raise click.UsageError(f"{file.parent} is no directory; make it, or name another")
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
