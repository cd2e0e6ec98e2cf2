"""`embedge verify`: a bundle's files against their hashes, and its vectors against a reference."""

import click

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Quality
from embedge.errors import MissingExtraError


@click.command()
@click.argument("bundle")
@click.option(
    "--checkpoint",
    metavar="DIR",
    help="Directory of the checkpoint that the bundle was exported from, where embedge cannot find it by its name.",
)
@click.option(
    "--optimum",
    is_flag=True,
    help="Compare with the graph that Hugging Face's Optimum traces; needs the checkpoint and `embedge[optimum]`.",
)
def verify(bundle: str, checkpoint: str | None, optimum: bool) -> None:
    """Check a bundle's files and vectors.

    BUNDLE is a path, or the name of a bundle in the cache. The command compares every file with its SHA-256. Then it
    compares the vectors with a reference, which needs `pip install 'embedge[export]'`. The reference is the checkpoint
    itself, run by transformers if you installed `embedge[optimum]`, else by numpy. Without the checkpoint it is the
    fp32 graph of the bundle. With `pip install 'embedge[fast]'`, the command also compares the fused int8 graph with
    the plain one. A quality that `embedge export --accept-quality` accepted is no error.

    \b
    Examples:
      embedge verify bge-small-en-v1.5
      embedge verify ./my-bundle --checkpoint ./my-fine-tune
      embedge verify ./my-bundle --checkpoint ./my-fine-tune --optimum
    """
    from embedge.hub.cache import open_local

    opened = open_local(bundle)
    opened.check()
    click.echo(
        f"{opened.path}: {len(opened.manifest.files)} files, {opened.manifest.size / 1e6:.1f} MB, every SHA-256 matches"
    )
    try:
        _compare(opened, checkpoint, optimum=optimum)
    except MissingExtraError as error:
        if checkpoint is not None or optimum:  # then the user asked for the comparison
            raise
        click.echo(f"vectors not compared: {error}")


def _compare(bundle: Bundle, checkpoint: str | None, *, optimum: bool) -> None:
    """Print the quality of each precision as it is measured."""
    from embedge.hub.exporter import load_exporter

    for precision, quality in load_exporter().compare(bundle, checkpoint=checkpoint, optimum=optimum):
        recorded = bundle.manifest.precisions[precision].quality
        if quality is not None:
            click.echo(f"{precision}: {describe_quality(quality)}")
        elif recorded is not None:
            click.echo(f"{precision}: no reference here; measured at the export: {describe_quality(recorded)}")
        else:
            click.echo(f"{precision}: no reference here and none at the export; vectors not compared")
        for miss in bundle.manifest.precisions[precision].below_floor:
            what = "" if miss.output in ("vectors", "scores") else f"{miss.output} "
            floor = f"{miss.floor_mean:.7g} mean and {miss.floor_minimum:.7g} min"
            click.echo(f"{precision}: {what}below its floor, {floor}, and accepted at the export")
    _compare_fused(bundle)


def _compare_fused(bundle: Bundle) -> None:
    """Print how the fused int8 graph differs from the plain one, if the bundle has one."""
    from embedge.hub.exporter import load_exporter

    try:
        quality = load_exporter().compare_fused(bundle)
    except MissingExtraError as error:
        click.echo(f"int8 fused: vectors not compared: {error}")
    else:
        if quality is not None:
            click.echo(f"int8 fused: {describe_quality(quality)}")


def describe_quality(quality: Quality) -> str:
    """A quality in one line, without the figures that were not measured."""
    parts = [
        f"cosine to {quality.reference} {quality.cosine_mean:.5f} mean, {quality.cosine_min:.5f} min over "
        f"{quality.texts} texts",
        None if quality.top10_overlap is None else f"{quality.top10_overlap:.1%} of the ten best passages",
        None if quality.max_abs_difference is None else f"largest difference {quality.max_abs_difference:.2g}",
        None if quality.lexical_mean is None else f"lexical weights {quality.lexical_mean:.5f} mean",
        None if quality.lexical_min is None else f"{quality.lexical_min:.5f} min",
        None if quality.multi_vector_mean is None else f"multi-vectors {quality.multi_vector_mean:.5f} mean",
        None if quality.multi_vector_min is None else f"{quality.multi_vector_min:.5f} min",
        None if quality.batch_difference is None else f"changes with the batch: {quality.batch_difference:.2g}",
    ]
    return ", ".join(part for part in parts if part)
