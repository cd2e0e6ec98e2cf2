"""The options that several commands share, and the texts that they read. Each option is declared once."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import click

from embedge.bundle.manifest import PRECISIONS
from embedge.errors import short
from embedge.progress import is_terminal
from embedge.text_files import FORMATS, Format, Item, open_items

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


def _check_device(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", value):
        raise click.BadParameter(f"there is no device {short(value)}; give cpu, cuda, or cuda:1 for the second GPU")
    return value


precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="Precision of the model. Default: int8 if the bundle has it; on a GPU fp16, else fp32.",
)
device_option = click.option(
    "--device",
    metavar="DEVICE",
    default="cpu",
    show_default=True,
    callback=_check_device,
    help="Where the model runs: cpu, cuda, or cuda:1 for the second GPU. cuda needs an NVIDIA GPU, and the package "
    "onnxruntime-gpu instead of onnxruntime.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Number of CPU cores to use. Default: all."
)
kernels_option = click.option(
    "--no-kernels", is_flag=True, help="Do not use the package embedge-kernels, even if it is installed."
)
local_files_only_option = click.option("--local-files-only", is_flag=True, help="Do not use the network.")
input_option = click.option(
    "-i",
    "--input",
    "source",
    metavar="FILE",
    help='File with one text per line, or .jsonl with a "text" in each line. Use - for stdin.',
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Format of the input. Default: jsonl if the file's name ends in .jsonl, else text.",
)


def model_option(default: str) -> Decorator[Any]:
    """The option -m of a command that loads a model."""
    return click.option(
        "-m",
        "--model",
        metavar="MODEL",
        default=default,
        show_default=True,
        help="Name (see `embedge models`), Hugging Face Hub id, or path of a bundle.",
    )


def precisions_option(default: str, *, value: tuple[str, ...] = ()) -> Decorator[Any]:
    """The repeatable option --precision of a command that writes bundles.

    Args:
        default: the default in words, for the help.
        value: the default.
    """
    return click.option(
        "--precision",
        "precisions",
        type=click.Choice(PRECISIONS),
        multiple=True,
        default=value,
        help=f"Precision of the ONNX graph. You can repeat this option. Default: {default}.",
    )


def open_input(
    texts: Sequence[str], source: str | None, form: Format | None, *, what: str, command: str
) -> AbstractContextManager[Iterable[Item]]:
    """Open the texts that a command reads: its arguments, else a file or stdin.

    Args:
        texts: the arguments.
        source: the option -i.
        form: the option --format.
        what: what errors call the arguments, such as "texts".
        command: names the command in errors.

    Raises:
        UsageError: there are no texts, or both arguments and a file.
    """
    if texts and source:
        raise click.UsageError(f"found both {what} and -i FILE; give only one of them")
    if texts and form:
        raise click.UsageError("--format is for -i FILE and stdin; leave it out")
    if not texts and not source and is_terminal(sys.stdin):
        raise click.UsageError(f"nothing to read; give {what} or -i FILE, or run `embedge {command} --help`")
    return nullcontext(map(Item, texts)) if texts else open_items(source or "-", format=form)
