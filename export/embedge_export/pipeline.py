"""export(): reads a checkpoint, makes its graphs, verifies them, and puts the bundle in place."""

import os
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from embedge.bundle.cache_paths import cache_home
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import ExporterName, Precision
from embedge.bundle.paths import expand, resolve_links
from embedge.bundle.staging import existing_bundle, lock_destination, report_write_errors, staging
from embedge.errors import BundleError, QualityError
from embedge.inference.errstate import own_errstate
from embedge.progress import log_step
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.recipe import load_recipe
from embedge_export.convert import convert, forget_saved_pieces
from embedge_export.existing import missing_precisions, reuse_recipe, side_files, was_made_from
from embedge_export.job import (
    ExportJob,
    cache_destination,
    check_acceptance,
    check_choices,
    check_types,
    command_of,
    load_calibration,
)
from embedge_export.kept import find_kept, forget_kept, keep, take_kept
from embedge_export.new_manifest import add_files, check_same_outputs, new_manifest
from embedge_export.steps import step


def export(
    source: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    precisions: Sequence[Precision] = ("int8",),
    exporter: ExporterName = "native",
    verify: bool = True,
    accept_quality: bool = False,
    force: bool = False,
    like: str | None = None,
    calibration: str | PathLike[str] | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    hub_failure: Exception | None = None,
) -> Bundle:
    """Turn a checkpoint into a bundle, or add precisions to the bundle that already exists there.

    Export a model by its name, and load it by the same name::

        from embedge import Embedder
        from embedge_export import export

        export("bge-small-en-v1.5")
        model = Embedder("bge-small-en-v1.5")

    Export your own fine-tuned model into a directory. ``like`` names the model that you started from::

        bundle = export("my-model", "my-bundle", precisions=["int8", "fp32"], like="bge-small-en-v1.5")
        model = Embedder(bundle.path)

    Each step is logged when it ends, to the logger ``embedge`` at level INFO.

    Args:
        source: a recipe's name, a hub id (``owner/name``), or the path of a directory with a checkpoint.
        output: the bundle's directory. None puts the bundle into the cache, where ``Embedder`` finds it by name.
        precisions: the precisions to make: some of ``"int8"``, ``"fp32"`` and ``"fp16"``. A precision that the bundle
            already has is left as it is.
        exporter: ``"native"`` builds a fused graph and knows the BERT and RoBERTa architectures. ``"optimum"`` traces
            the model in PyTorch; use it for other architectures.
        verify: compare each graph with its reference, and fail if it is too far from it. An int8 graph that is too far
            is mended first.
        accept_quality: do not fail if a graph is too far from its reference. The bundle records it. If an export has
            just failed for this reason, the bundle that it kept is taken, and nothing is computed again.
        force: make the precisions again even if the bundle has them, and replace a bundle of another checkpoint.
        like: the recipe that your checkpoint was fine-tuned from. The pooling, prompts and length that the
            checkpoint's files do not state come from it.
        calibration: a file with the texts that int8 is fitted to: one text a line, or JSON lines with a ``"text"``.
            None uses the exporter's own texts: some hundreds, of many kinds and languages.
        cache_dir: the cache. None means ``$EMBEDGE_HOME`` or, if that is not set, the platform's cache directory.
        local_files_only: do not use the network.
        hub_failure: the error that the hub has just returned for this source. The hub is then not asked again.

    Returns:
        The bundle. It replaces an existing one in a single step: if the process is killed before, the old bundle is
        still there and whole.

    Raises:
        CheckpointError: the checkpoint cannot be found, read or exported, or an option has the wrong type or value.
        QualityError: a graph is too far from its reference. The message names the command that takes it all the same.
        BundleError: the destination is not a bundle or cannot be written, or the new bundle cannot be read back.
        InputValueError: a precision is unknown, or the calibration file cannot be read, or has too few texts.
        MissingExtraError: a package that the exporter needs is not installed.
    """
    check_types(source=source, output=output, like=like, cache_dir=cache_dir)
    check_choices(precisions, exporter, calibration)
    check_acceptance(verify=verify, accept_quality=accept_quality)
    record, texts = load_calibration(exporter, calibration)
    cache = cache_home(cache_dir)
    with step("checkpoint") as note:
        fetched = fetch(os.fspath(source), cache=cache, local_files_only=local_files_only, hub_failure=hub_failure)
        checkpoint = read_checkpoint(fetched, like=load_recipe(like) if like else None)
        note(f"{fetched.origin}, {checkpoint.architecture}, {checkpoint.pooling} pooling")
    job = ExportJob(
        checkpoint=checkpoint,
        destination=_find_destination(checkpoint, output, cache),
        precisions=tuple(dict.fromkeys(precisions)),
        exporter=exporter,
        calibration=record,
        calibration_texts=texts,
        verify=verify,
        accept_quality=accept_quality,
        command=command_of(
            source,
            output,
            precisions=precisions,
            exporter=exporter,
            force=force,
            like=like,
            calibration=calibration,
            cache_dir=cache_dir,
        ),
    )
    return _export_locked(job, force=force)


def _find_destination(checkpoint: Checkpoint, output: str | PathLike[str] | None, cache: Path) -> Path:
    """Return the bundle's directory: the output with its links resolved, or a place in the cache."""
    if output is None:
        return cache_destination(checkpoint, cache)
    return resolve_links(expand(output, what="-o"), what="-o")


@own_errstate
def _export_locked(job: ExportJob, *, force: bool) -> Bundle:
    """Make the files that the destination lacks, under its lock. A complete bundle is returned without the lock."""
    destination = job.destination
    if _is_current_directory(destination):
        raise BundleError(f"{destination} is the current directory; pass another one, such as -o bundle")
    with report_write_errors(destination):
        if existing := existing_bundle(destination):
            job = reuse_recipe(existing, job)
            if _remaining_job(existing, job, force=force) is None:
                log_step(f"{'bundle':<11}{destination} holds {', '.join(job.precisions)} already")
                return existing
        with lock_destination(destination):
            existing = existing_bundle(destination)  # again: another export may have ended in the meantime
            if existing is not None:
                job = reuse_recipe(existing, job)
            remaining = job if existing is None else _remaining_job(existing, job, force=force)
            if remaining is None:
                assert existing is not None
                return existing
            if remaining.accept_quality and (kept := find_kept(remaining, existing)):
                log_step(f"{'bundle':<11}{destination}, as the last export kept it; its quality is below its floor")
                return take_kept(kept, destination, existing)
            same = existing is not None and was_made_from(existing, remaining.checkpoint)
            return _make_bundle(remaining, extends=existing if same else None, replaces=None if same else existing)


def _is_current_directory(folder: Path) -> bool:
    try:
        return folder == Path.cwd()
    except OSError:  # somebody deleted the current directory
        return False


def _remaining_job(existing: Bundle, job: ExportJob, *, force: bool) -> ExportJob | None:
    """Return the job with the precisions that are left to make, or None if the bundle is complete.

    The job has no precisions if only side files are damaged.
    """
    missing = missing_precisions(existing, job, force=force)
    return replace(job, precisions=missing) if missing or not existing.is_whole(side_files(existing)) else None


def _make_bundle(job: ExportJob, *, extends: Bundle | None, replaces: Bundle | None) -> Bundle:
    """Make the job's graphs and put the bundle in place.

    Args:
        job: the work to do.
        extends: the existing bundle, if its other precisions stay in the new one.
        replaces: the existing bundle, if the new one replaces it.
    """
    from embedge_export.bundle_files import name_graphs, write_manifest, write_side_files
    from embedge_export.read_back import read_back, reopen
    from embedge_export.verify.checks import verify_export

    manifest = new_manifest(job)
    if extends is not None:
        check_same_outputs(extends, manifest, job)
    with staging(job.destination, extends=extends, replaces=replaces) as (folder, scratch):
        write_side_files(job.checkpoint, folder)
        if job.precisions:
            convert(job, folder, scratch)
        records = {**(extends.manifest.precisions if extends else {}), **manifest.precisions}
        name_graphs(job.checkpoint, folder, [record.file for record in records.values()])
        written = write_manifest(folder, add_files(manifest, folder, extends))
        bundle = read_back(written, load=job.precisions)
        if job.verify and job.precisions:
            bundle = reopen(write_manifest(folder, verify_export(job, bundle, scratch)))
        if "int8" in job.precisions:
            forget_saved_pieces(job.destination)
        if job.verify and job.precisions:
            _check_quality(job, bundle)
    forget_kept(job.destination)
    log_step(f"{'bundle':<11}{job.destination}, {bundle.manifest.size / 1e6:.1f} MB")
    return Bundle(job.destination, bundle.manifest)


def _check_quality(job: ExportJob, bundle: Bundle) -> None:
    """Raise QualityError if a graph is below its floor and nobody accepts that; the bundle is kept for the next try."""
    from embedge_export.verify.floors import explain_below_floor

    facts, remedy = explain_below_floor(bundle.manifest, job.precisions)
    if facts and job.accept_quality:
        log_step(f"{'accepted':<11}{'; '.join(facts)}")
    elif facts:
        kept = keep(bundle.path, job.destination)
        raise QualityError(
            f"{', and '.join(facts)}; run `{job.command} --accept-quality` to use the bundle as it is (it is kept in "
            f"{kept}), or {remedy}"
        )
