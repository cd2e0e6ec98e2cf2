"""`embedge ship`: a folder or a ZIP file that runs on another machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embedge.bundle.manifest import PRECISIONS, Precision, Task
from embedge.errors import escape
from embedge.ship.places import Half, PlaceName, check_place, default_platform, note
from embedge.ship.platforms import PLATFORMS, check_python, this_python
from embedge.ship.sizes import PartSize, limits
from embedge.ship.trim import LEFT_OUT

if TYPE_CHECKING:
    from embedge.ship.assemble import Shipped, Target

_WITHOUT_BYTECODE = "Python compiles all modules at each start, which takes about 90 ms"


@click.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR|FILE.zip",
    type=click.Path(path_type=Path),
    help="Output: a folder, or a ZIP file if the name ends in .zip. Only an earlier output is replaced.",
)
@click.option(
    "--platform",
    type=click.Choice(list(PLATFORMS)),
    help="Platform that runs the output. Default: this machine's; for Lambda, Linux on this machine's processor.",
)
@click.option(
    "--python",
    metavar="VERSION",
    help="Version of the Python that runs the output, such as 3.13. Default: this Python's.",
)
@click.option("--lambda", "function", is_flag=True, help="Make an AWS Lambda function, with a handler.")
@click.option("--layer", is_flag=True, help="Make an AWS Lambda layer: packages in python/, and bundle/.")
@click.option("--container", is_flag=True, help="Make a folder with a Dockerfile for AWS Lambda.")
@click.option(
    "--precision", type=click.Choice(PRECISIONS), help="Precision of the model. Default: int8 if the bundle has it."
)
@click.option(
    "--only",
    type=click.Choice(["packages", "bundle"]),
    help="Make only one half of a function or a layer. Where both together are too large for a direct upload, put one "
    "half into a layer and the other into a function.",
)
@click.option(
    "--newest", is_flag=True, help="Take the newest packages, instead of the versions that are installed here."
)
@click.option(
    "--whole-numpy", is_flag=True, help="Keep numpy.random, numpy.fft, ... for code of your own (6 MB unpacked)."
)
@click.option("--no-bytecode", is_flag=True, help="Do not compile the modules.")
def ship(
    model: str,
    output: Path,
    platform: str | None,
    python: str | None,
    function: bool,
    layer: bool,
    container: bool,
    precision: Precision | None,
    only: Half | None,
    newest: bool,
    whole_numpy: bool,
    no_bytecode: bool,
) -> None:
    """Pack a model and all that it needs to run into a folder or a ZIP file, for another machine.

    MODEL is a recipe's name, a Hugging Face Hub id, or the path of a bundle. The output has embedge as it is installed
    here, numpy, onnxruntime and tokenizers without the files that embedding does not use, bytecode, and the bundle with
    one precision. pip gets the wheels for the target's platform, so you need not run the command there. The output
    needs a Python of that version, and nothing else.

    The command prints the size of each part, and whether the output meets the limits of AWS Lambda.

    \b
    Examples:
      embedge ship bge-small-en-v1.5 -o app                   a folder for this machine
      PYTHONPATH=app python -S -c 'from embedge import Embedder; print(Embedder("app/bundle").encode("hi"))'
      embedge ship all-MiniLM-L6-v2 -o function.zip --lambda --platform linux-aarch64 --python 3.13
      embedge ship bge-small-en-v1.5 -o layer.zip --layer --python 3.13 --only packages
      embedge ship bge-small-en-v1.5 -o function.zip --lambda --python 3.13 --only bundle    # uses that layer
      embedge ship bge-m3 -o image --container && docker build -t embedge-function image
    """
    from embedge.hub.pull import pull as pull_bundle
    from embedge.ship.assemble import Target
    from embedge.ship.assemble import ship as ship_bundle

    place = _place(function=function, layer=layer, container=container)
    target = Target(
        place=place,
        platform=platform or default_platform(place),
        python=check_python(python or this_python()),
        precision=precision,
        newest=newest,
        whole_numpy=whole_numpy,
        bytecode=not no_bytecode,
        only=only,
    )
    check_place(place, target.platform, target.python)  # before a model is downloaded
    source = pull_bundle(model, precisions=(precision,) if precision else None)
    shipped = ship_bundle(source, output, target)
    for line in _report(shipped, target, source.manifest.task):
        click.echo(escape(line))


def _place(*, function: bool, layer: bool, container: bool) -> PlaceName:
    options: dict[PlaceName, bool] = {"lambda": function, "layer": layer, "container": container}
    found = [name for name, given in options.items() if given]
    if len(found) > 1:
        raise click.UsageError(f"found {' and '.join(f'--{name}' for name in found)}; give only one of them")
    return found[0] if found else "folder"


def _report(shipped: "Shipped", target: "Target", task: Task) -> Iterator[str]:
    record = shipped.record
    yield f"{shipped.path}: {record.model} {record.precision}, {record.platform}, Python {record.python}"
    yield ""
    yield from _table(shipped)
    yield ""
    yield from limits(target.place, shipped.parts)
    if shipped.numpy_cut:
        yield f"left out: {LEFT_OUT}; --whole-numpy keeps them"
    if target.only != "bundle":
        yield _about_bytecode(shipped, target)
    yield note(target.place, target.only, shipped.path, task)


def _about_bytecode(shipped: "Shipped", target: "Target") -> str:
    if shipped.compiler:
        return f"bytecode: by {' '.join(shipped.compiler)}"
    if not target.bytecode:
        return f"bytecode: none, as you asked; {_WITHOUT_BYTECODE}"
    return f"bytecode: none, because python{target.python} is not on this machine; {_WITHOUT_BYTECODE}"


def _table(shipped: "Shipped") -> Iterator[str]:
    """The megabytes (1e6 bytes) of each part, in the output and in the ZIP file."""
    total = PartSize(
        unpacked=sum(part.unpacked for part in shipped.parts.values()),
        zipped=sum(part.zipped for part in shipped.parts.values()),
    )
    versions = shipped.record.packages
    rows = {f"{name} {versions[name]}" if name in versions else name: part for name, part in shipped.parts.items()}
    rows["total"] = total
    width = max(map(len, rows))
    yield f"{'MB':<{width}}   unpacked" + ("    zipped" if total.zipped else "")
    for name, part in rows.items():
        yield f"{name:<{width}}{part.unpacked / 1e6:>11.2f}" + (f"{part.zipped / 1e6:>10.2f}" if total.zipped else "")
