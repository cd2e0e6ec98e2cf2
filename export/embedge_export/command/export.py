"""`embedge export`: a checkpoint -> a bundle."""

import click

from embedge.bundle.manifest import CLASSES, EXPORTERS, ExporterName, Precision
from embedge.command.options import local_files_only_option, precisions_option
from embedge.progress import tell
from embedge_export.extras import require_export_extra


@click.command()
@click.argument("source")
@click.option("-o", "--output", metavar="DIR", help="Output directory. Default: a place in the cache.")
@precisions_option("int8", value=("int8",))
@click.option(
    "--exporter",
    type=click.Choice(EXPORTERS),
    default="native",
    show_default=True,
    help="native exports BERT and RoBERTa, fast and without torch. optimum exports other encoders; it needs "
    "`pip install 'embedge[optimum]'`.",
)
@click.option(
    "--verify/--no-verify", default=True, show_default=True, help="Compare the vectors with those of a reference."
)
@click.option(
    "--accept-quality",
    is_flag=True,
    help="Write the bundle even if its quality is below the minimum; its manifest says so. Takes what the last export "
    "kept for this reason, without computing it again.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Export again what the bundle has, or replace a bundle of another checkpoint.",
)
@click.option(
    "--like",
    metavar="RECIPE",
    help="Recipe of the model that you fine-tuned, if SOURCE is a directory. It supplies the pooling and prompts that "
    "the directory lacks.",
)
@click.option(
    "--calibration",
    metavar="FILE",
    help="File with a few hundred of your own texts, one per line or .jsonl, to calibrate int8 with them. Default: "
    "built-in texts of many kinds.",
)
@local_files_only_option
def export(
    source: str,
    output: str | None,
    precisions: tuple[Precision, ...],
    exporter: ExporterName,
    verify: bool,
    accept_quality: bool,
    force: bool,
    like: str | None,
    calibration: str | None,
    local_files_only: bool,
) -> None:
    """Export a checkpoint to a bundle.

    SOURCE is a recipe's name (see `embedge models`), a Hugging Face Hub id, or a directory with a checkpoint. The
    command downloads the checkpoint, converts it to ONNX, calibrates int8, and compares the vectors with a reference.
    If there is a bundle of the same checkpoint already, the command adds the precisions that it lacks.

    This needs `pip install 'embedge[export]'`.

    \b
    Examples:
      embedge export bge-small-en-v1.5
      embedge export BAAI/bge-base-en-v1.5 -o ./bge-base --precision int8 --precision fp32
      embedge export ./my-fine-tune --like bge-small-en-v1.5 -o ./my-bundle
    """
    require_export_extra()
    from embedge_export import pipeline

    bundle = pipeline.export(
        source,
        output,
        precisions=precisions,
        exporter=exporter,
        verify=verify,
        accept_quality=accept_quality,
        force=force,
        like=like,
        calibration=calibration,
        local_files_only=local_files_only,
    )
    manifest = bundle.manifest
    if manifest.task == "embed" and not manifest.prompts and manifest.source.hub_id is None and like is None:
        tell("prompts    none: queries get no prompt (--like RECIPE uses a recipe's)")
    cached_as = manifest.model if manifest.source.hub_id else bundle.path.name
    click.echo(f'{CLASSES[manifest.task]}("{output or cached_as}") loads it.')
