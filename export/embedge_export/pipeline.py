"""export(): checkpoint -> graph -> smooth -> quantise -> verify -> bundle."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path

from embedge.bundle import Bundle
from embedge.errors import BundleError
from embedge.errstate import own_errstate
from embedge.manifest import GRAPHS, Manifest, Precision, PrecisionRecord, Source
from embedge.paths import expand, resolve_links
from embedge.place import existing_bundle, lock_destination, staging, writing
from embedge.progress import Report
from embedge.resolve import cache_home
from embedge_export.checkpoint import read_checkpoint
from embedge_export.convert import convert
from embedge_export.destination import as_before, is_of, missing_precisions, side_files
from embedge_export.fetch import fetch
from embedge_export.graph_file import write_graph
from embedge_export.order import Exporter, Order, cache_place, check_choices, check_types
from embedge_export.recipe import load_recipe
from embedge_export.steps import step


def export(
    source: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    precisions: Sequence[Precision] = ("int8",),
    exporter: Exporter = "native",
    verify: bool = True,
    force: bool = False,
    like: str | None = None,
    calibration: str | PathLike[str] | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    report: Report | None = None,
) -> Bundle:
    """Make a bundle of a checkpoint, or add precisions to the one that is there.

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
        report: called with one line for each step as it ends.

    Returns:
        The bundle. If the process is killed at any point, what was there before is still there, whole.

    Raises:
        CheckpointError: the checkpoint cannot be found, read or exported, or an option is of another type.
        QualityError: a graph is too far from its reference.
        BundleError: the destination holds something else or cannot be written, or the new bundle cannot be read back.
        TextValueError: the calibration file cannot be read, or has too few texts.
        MissingExtraError: a package that the exporter needs is not installed.
    """
    check_types(source=source, output=output, like=like, cache_dir=cache_dir, report=report)
    record, texts = check_choices(precisions, exporter, calibration)
    report = report or (lambda line: None)
    cache = cache_home(cache_dir)
    with step(report, "checkpoint") as note:
        fetched = fetch(os.fspath(source), cache=cache, local_files_only=local_files_only)
        checkpoint = read_checkpoint(fetched, like=load_recipe(like) if like else None)
        note(f"{fetched.origin}, {checkpoint.architecture}, {checkpoint.pooling} pooling")
    if output is None:
        destination = cache_place(checkpoint, cache)
    else:
        destination = resolve_links(expand(output, what="-o"), what="-o")
    order = Order(
        checkpoint=checkpoint,
        destination=destination,
        precisions=tuple(dict.fromkeys(precisions)),
        exporter=exporter,
        calibration=record,
        calibration_texts=texts,
        verify=verify,
        report=report,
    )
    return _export_locked(order, force=force)


@own_errstate
def _export_locked(order: Order, *, force: bool) -> Bundle:
    destination = order.destination
    if _is_current(destination):
        raise BundleError(f"{destination} is the current directory; give -o another, such as -o bundle")
    with writing(destination):
        if before := existing_bundle(destination):
            order = as_before(before, order)
            if _left(before, order, force=force) is None:
                order.report(f"{'bundle':<11}{destination} holds {', '.join(order.precisions)} already")
                return before
        with lock_destination(destination, order.report):
            before = existing_bundle(destination)  # again: another export may have just ended
            if before is None:
                return _make(order, keep=None, drop=None)
            order = as_before(before, order)
            left = _left(before, order, force=force)
            if left is None:
                return before
            same = is_of(before, left.checkpoint)
            return _make(left, keep=before if same else None, drop=None if same else before)


def _is_current(folder: Path) -> bool:
    try:
        return folder == Path.cwd()
    except OSError:  # the current directory is gone
        return False


def _left(before: Bundle, order: Order, *, force: bool) -> Order | None:
    """What of the order is to be made: of no precision where only other files are damaged; None where all is there."""
    missing = missing_precisions(before, order, force=force)
    return replace(order, precisions=missing) if missing or not before.is_whole(side_files(before)) else None


def _make(order: Order, *, keep: Bundle | None, drop: Bundle | None) -> Bundle:
    from embedge_export.bundle import record_files, write_manifest, write_side_files
    from embedge_export.read_back import read_back, reopen
    from embedge_export.verify import verified

    manifest = _manifest(order, {})
    if keep is not None and keep.manifest.outputs != manifest.outputs:
        raise BundleError(
            f"{order.destination} holds graphs that give {', '.join(keep.manifest.outputs)}, and --exporter "
            f"{order.exporter} makes such as give {', '.join(manifest.outputs)}; give -o another directory, or "
            "delete that one first"
        )
    with staging(order.destination, keep=keep, drop=drop) as (folder, scratch):
        write_side_files(order.checkpoint, folder)
        for precision, model in convert(order, scratch) if order.precisions else ():
            write_graph(model, folder / GRAPHS[precision])
        others = (
            {} if keep is None else {k: v for k, v in keep.manifest.precisions.items() if k not in order.precisions}
        )
        kept = (
            {}
            if keep is None
            else {name: keep.manifest.files[name] for other in others for name in keep.graph_files(other)}
        )
        manifest = replace(manifest, precisions={**others, **manifest.precisions})
        written = write_manifest(folder, replace(manifest, files=record_files(folder, keep=kept)))
        bundle = read_back(written, load=order.precisions)
        if order.verify and order.precisions:
            bundle = reopen(write_manifest(folder, verified(order, bundle, scratch)))
    size = sum(record.size for record in bundle.manifest.files.values())
    order.report(f"{'bundle':<11}{order.destination}, {size / 1e6:.1f} MB")
    return Bundle(order.destination, bundle.manifest)


def _manifest(order: Order, others: Mapping[str, PrecisionRecord]) -> Manifest:
    """The manifest but for its files and quality."""
    checkpoint, fetched = order.checkpoint, order.checkpoint.fetched
    packages = ("embedge", "onnx", "numpy") if order.exporter == "native" else ("embedge", "optimum-onnx", "torch")
    made_by = {name: version(name) for name in packages}
    new: dict[str, PrecisionRecord] = {
        name: PrecisionRecord(
            file=GRAPHS[name],
            exporter=order.exporter,
            calibration=order.calibration if name == "int8" else None,
            made_by=made_by,
        )
        for name in order.precisions
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
        sparse=checkpoint.sparse_head is not None and order.exporter == "native",
        multi_vector=checkpoint.multi_vector_head is not None and order.exporter == "native",
        prompts=checkpoint.prompts,
        default_prompt=checkpoint.default_prompt,
        files={},
        precisions={**others, **new},
    )
