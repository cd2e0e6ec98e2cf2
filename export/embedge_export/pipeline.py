"""export(): checkpoint -> graph -> smooth -> quantise -> verify -> bundle."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path

from embedge.bundle.cache_paths import cache_home
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import GRAPHS, ExporterName, Manifest, Precision, PrecisionRecord, Source
from embedge.bundle.paths import expand, resolve_links
from embedge.bundle.staging import existing_bundle, lock_destination, report_write_errors, staging
from embedge.errors import BundleError
from embedge.inference.errstate import own_errstate
from embedge.progress import log_step
from embedge.version import __version__
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import read_checkpoint
from embedge_export.checkpoint.recipe import load_recipe
from embedge_export.convert import convert
from embedge_export.existing import as_before, is_of, missing_precisions, side_files
from embedge_export.graph.write import write_graph
from embedge_export.job import ExportJob, cache_place, check_choices, check_types
from embedge_export.steps import step


def export(
    source: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    precisions: Sequence[Precision] = ("int8",),
    exporter: ExporterName = "native",
    verify: bool = True,
    force: bool = False,
    like: str | None = None,
    calibration: str | PathLike[str] | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    hub_failure: Exception | None = None,
) -> Bundle:
    """Make a bundle of a checkpoint, or add precisions to the one that is there.

    Each step is logged as it ends, by the logger ``embedge`` at level INFO.

    Args:
        source: a recipe's name, a hub id, or a directory with a checkpoint.
        output: the bundle's directory; None is a place in the cache, where ``Embedder`` finds it by its name.
        precisions: of the graphs to make. One that the bundle already holds is left as it is.
        exporter: ``"native"`` writes a fused graph itself; ``"optimum"`` traces, for architectures that native lacks.
        verify: compare each graph with its reference, and fail where it is too far from it.
        force: make the precisions anew, and replace a bundle of another checkpoint.
        like: recipe of the checkpoint that a directory's was fine-tuned from, for the pooling and prompts it lacks.
        calibration: file of texts that int8 is fitted to, one on each line or JSON lines with a "text"; None fits it to
            some hundreds of texts of many kinds and languages that come with the exporter.
        cache_dir: the cache; None is ``$EMBEDGE_HOME``, else the platform's cache folder.
        local_files_only: never touch the network.
        hub_failure: the error with which the hub has just failed for this source; it is not asked again.

    Returns:
        The bundle. If the process is killed at any point, what was there before is still there, whole.

    Raises:
        CheckpointError: the checkpoint cannot be found, read or exported, or an option is of another type.
        QualityError: a graph is too far from its reference.
        BundleError: the destination holds something else or cannot be written, or the new bundle cannot be read back.
        InputValueError: there is no such precision; or the calibration file cannot be read, or has too few texts.
        MissingExtraError: a package that the exporter needs is not installed.
    """
    check_types(source=source, output=output, like=like, cache_dir=cache_dir)
    record, texts = check_choices(precisions, exporter, calibration)
    cache = cache_home(cache_dir)
    with step("checkpoint") as note:
        fetched = fetch(os.fspath(source), cache=cache, local_files_only=local_files_only, hub_failure=hub_failure)
        checkpoint = read_checkpoint(fetched, like=load_recipe(like) if like else None)
        note(f"{fetched.origin}, {checkpoint.architecture}, {checkpoint.pooling} pooling")
    if output is None:
        destination = cache_place(checkpoint, cache)
    else:
        destination = resolve_links(expand(output, what="-o"), what="-o")
    job = ExportJob(
        checkpoint=checkpoint,
        destination=destination,
        precisions=tuple(dict.fromkeys(precisions)),
        exporter=exporter,
        calibration=record,
        calibration_texts=texts,
        verify=verify,
    )
    return _export_locked(job, force=force)


@own_errstate
def _export_locked(job: ExportJob, *, force: bool) -> Bundle:
    destination = job.destination
    if _is_current(destination):
        raise BundleError(f"{destination} is the current directory; give -o another, such as -o bundle")
    with report_write_errors(destination):
        if before := existing_bundle(destination):
            job = as_before(before, job)
            if _left(before, job, force=force) is None:
                log_step(f"{'bundle':<11}{destination} holds {', '.join(job.precisions)} already")
                return before
        with lock_destination(destination):
            before = existing_bundle(destination)  # again: another export may have just ended
            if before is None:
                return _make(job, keep=None, drop=None)
            job = as_before(before, job)
            left = _left(before, job, force=force)
            if left is None:
                return before
            same = is_of(before, left.checkpoint)
            return _make(left, keep=before if same else None, drop=None if same else before)


def _is_current(folder: Path) -> bool:
    try:
        return folder == Path.cwd()
    except OSError:  # the current directory is gone
        return False


def _left(before: Bundle, job: ExportJob, *, force: bool) -> ExportJob | None:
    """What of the job is to be made: of no precision where only other files are damaged; None where all is there."""
    missing = missing_precisions(before, job, force=force)
    return replace(job, precisions=missing) if missing or not before.is_whole(side_files(before)) else None


def _make(job: ExportJob, *, keep: Bundle | None, drop: Bundle | None) -> Bundle:
    from embedge_export.bundle_files import record_files, write_manifest, write_side_files
    from embedge_export.read_back import read_back, reopen
    from embedge_export.verify.checks import verify_export

    manifest = _manifest(job, {})
    if keep is not None and keep.manifest.outputs != manifest.outputs:
        raise BundleError(
            f"{job.destination} holds graphs that give {', '.join(keep.manifest.outputs)}, and --exporter "
            f"{job.exporter} makes such as give {', '.join(manifest.outputs)}; give -o another directory, or "
            "delete that one first"
        )
    with staging(job.destination, extends=keep, replaces=drop) as (folder, scratch):
        write_side_files(job.checkpoint, folder)
        for precision, model in convert(job, scratch) if job.precisions else ():
            write_graph(model, folder / GRAPHS[precision])
        others = {} if keep is None else {k: v for k, v in keep.manifest.precisions.items() if k not in job.precisions}
        kept = (
            {}
            if keep is None
            else {name: keep.manifest.files[name] for other in others for name in keep.graph_files(other)}
        )
        manifest = replace(manifest, precisions={**others, **manifest.precisions})
        written = write_manifest(folder, replace(manifest, files=record_files(folder, keep=kept)))
        bundle = read_back(written, load=job.precisions)
        if job.verify and job.precisions:
            bundle = reopen(write_manifest(folder, verify_export(job, bundle, scratch)))
    size = sum(record.size for record in bundle.manifest.files.values())
    log_step(f"{'bundle':<11}{job.destination}, {size / 1e6:.1f} MB")
    return Bundle(job.destination, bundle.manifest)


def _manifest(job: ExportJob, others: Mapping[str, PrecisionRecord]) -> Manifest:
    """The manifest but for its files and quality."""
    checkpoint, fetched = job.checkpoint, job.checkpoint.fetched
    packages = ("embedge", "onnx", "numpy") if job.exporter == "native" else ("embedge", "optimum-onnx", "torch")
    made_by = {name: __version__ if name == "embedge" else version(name) for name in packages}
    new: dict[str, PrecisionRecord] = {
        name: PrecisionRecord(
            file=GRAPHS[name],
            exporter=job.exporter,
            calibration=job.calibration if name == "int8" else None,
            made_by=made_by,
        )
        for name in job.precisions
    }
    return Manifest(
        model=fetched.name,
        source=Source(
            origin=fetched.origin,
            hub_id=fetched.hub_id,
            revision=fetched.revision,
            like=checkpoint.like,
            checkpoint_sha256=checkpoint.sha256,
        ),
        licence=checkpoint.licence,
        task=checkpoint.task,
        architecture=checkpoint.architecture,
        dimension=checkpoint.dimension,
        max_tokens=checkpoint.max_tokens,
        truncation_side=checkpoint.truncation_side,
        pooling=checkpoint.pooling,
        similarity=checkpoint.similarity,
        normalize=checkpoint.normalize,
        sparse=checkpoint.sparse_head is not None and job.exporter == "native",
        multi_vector=checkpoint.multi_vector_head is not None and job.exporter == "native",
        prompts=checkpoint.prompts,
        default_prompt=checkpoint.default_prompt,
        files={},
        precisions={**others, **new},
    )
