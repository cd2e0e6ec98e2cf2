"""The exporter's commands: `embedge export`, `verify`, `models` and `demo`."""

from typing import Literal

import click

from embedge.bundle.manifest import CLASSES, PRECISIONS, Precision, Quality
from embedge.progress import tell


@click.command()
@click.argument("source")
@click.option("-o", "--output", metavar="DIR", help="Where the bundle goes; the cache by default.")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    default=("int8",),
    show_default="int8",
    help="May be given several times.",
)
@click.option(
    "--exporter",
    type=click.Choice(("native", "optimum")),
    default="native",
    show_default=True,
    help="native: fast, torch-free, BERT and RoBERTa. optimum: other encoders; pip install 'embedge[optimum]'.",
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Compare with the reference.")
@click.option("--force", is_flag=True, help="Make it anew; replace a bundle of another checkpoint.")
@click.option("--like", metavar="RECIPE", help="What a directory was fine-tuned from: its pooling and prompts.")
@click.option(
    "--calibration",
    metavar="FILE",
    help="A few hundred texts like yours, one on each line, that int8 is fitted to; default: our own, of many kinds.",
)
@click.option("--local-files-only", is_flag=True, help="Never touch the network.")
def export(
    source: str,
    output: str | None,
    precisions: tuple[Precision, ...],
    exporter: Literal["native", "optimum"],
    verify: bool,
    force: bool,
    like: str | None,
    calibration: str | None,
    local_files_only: bool,
) -> None:
    """Make a bundle of a checkpoint.

    SOURCE is a recipe's name (`embedge models` lists them), a hub id, or a directory with a checkpoint. Another
    precision of the same checkpoint is added to the bundle that is there.

    \b
    embedge export bge-small-en-v1.5
    embedge export BAAI/bge-base-en-v1.5 -o ./bge-base --precision int8 --precision fp32
    embedge export ./my-fine-tune --like bge-small-en-v1.5 -o ./my-bundle
    """
    from embedge_export.pipeline import export as run

    bundle = run(
        source,
        output,
        precisions=precisions,
        exporter=exporter,
        verify=verify,
        force=force,
        like=like,
        calibration=calibration,
        local_files_only=local_files_only,
    )
    manifest = bundle.manifest
    if manifest.task == "embed" and not manifest.prompts and manifest.source.hub_id is None and like is None:
        tell("prompts    none: queries are embedded as they are (--like RECIPE takes a recipe's)")
    cached_as = manifest.model if manifest.source.hub_id else bundle.path.name
    click.echo(f'{CLASSES[manifest.task]}("{output or cached_as}") loads it.')


@click.command()
@click.argument("bundle")
@click.option("--checkpoint", metavar="DIR", help="The checkpoint it was made from, if it cannot be found by its name.")
def verify(bundle: str, checkpoint: str | None) -> None:
    """Check a bundle: every file's hash and, where the reference can be had, the vectors.

    BUNDLE is a path, or a name in the cache. The reference is optimum's graph of the same checkpoint where the optimum
    extra is installed, else the bundle's own fp32 graph.

    \b
    embedge verify bge-small-en-v1.5
    embedge verify ./my-bundle --checkpoint ./my-fine-tune
    """
    from embedge.bundle.cache_paths import cache_home
    from embedge.hub.cache import open_held
    from embedge_export.verify.checks import verify_bundle

    opened = open_held(bundle)
    opened.check()
    size = sum(record.size for record in opened.manifest.files.values())
    click.echo(f"{opened.path}: {len(opened.manifest.files)} files, {size / 1e6:.1f} MB, every SHA-256 as exported")
    for precision, quality in verify_bundle(opened, checkpoint=checkpoint, cache=cache_home()):
        recorded = opened.manifest.precisions[precision].quality
        if quality is not None:
            click.echo(f"{precision}: {_describe(quality)}")
        elif recorded is not None:
            click.echo(f"{precision}: no reference here; when exported, {_describe(recorded)}")
        else:
            click.echo(f"{precision}: no reference here, and none when exported; vectors not compared")


def _describe(quality: Quality) -> str:
    """The report in one line; a field that was not measured is left out."""
    parts = [
        f"cosine to {quality.reference} {quality.cosine_mean:.5f} mean, {quality.cosine_min:.5f} min over "
        f"{quality.texts} texts",
        None if quality.top10_overlap is None else f"{quality.top10_overlap:.1%} of the ten best passages",
        None if quality.max_abs_difference is None else f"largest difference {quality.max_abs_difference:.2g}",
        None if quality.lexical_mean is None else f"lexical weights {quality.lexical_mean:.5f} mean",
        None if quality.lexical_min is None else f"{quality.lexical_min:.5f} min",
        None if quality.multi_vector_mean is None else f"multi-vectors {quality.multi_vector_mean:.5f} mean",
        None if quality.multi_vector_min is None else f"{quality.multi_vector_min:.5f} min",
        None if quality.batch_difference is None else f"changes with batch: {quality.batch_difference:.2g}",
    ]
    return ", ".join(part for part in parts if part)


@click.command()
def models() -> None:
    """List the recipes by task and language, and which of them are in the cache.

    Sizes are of the int8 graph. Any other BERT or RoBERTa embedder can be exported by its hub id or
    directory.
    """
    from embedge_export.command.models_table import models_table

    for line in models_table():
        click.echo(line)


@click.command()
@click.argument("question", required=False)
@click.option("-m", "--model", default="all-MiniLM-L6-v2", show_default=True, help="Recipe's name, hub id or bundle.")
@click.option("--top", type=click.IntRange(1, 60), default=3, show_default=True, help="Passages for each question.")
def demo(question: str | None, model: str, top: int) -> None:
    """Fetch and export a small model, embed sixty passages, answer questions.

    The first run downloads 84 MB and keeps the bundle; later ones start at once.

    \b
    embedge demo
    embedge demo "why is the sky so dark at night?"
    """
    from embedge_export.command.demo import run_demo

    run_demo([question] if question else None, model=model, top=top, say=click.echo)
