"""export(): checkpoint -> graph -> quantise -> verify -> bundle."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from embedge.bundle import GRAPHS, PRECISIONS, Bundle, Manifest, Precision, PrecisionRecord, Source
from embedge.errors import BundleError, CheckpointError
from embedge.resolve import cache_home, cached_path
from embedge_export.checkpoint import Checkpoint, read_checkpoint
from embedge_export.destination import existing_bundle, lock_destination, missing_precisions
from embedge_export.extra import has_optimum_extra, require_export_extra, require_optimum_extra
from embedge_export.fetch import fetch
from embedge_export.recipe import load_recipe
from embedge_export.steps import Report, step

if TYPE_CHECKING:
    from onnx import ModelProto

    from embedge_export.reference import Reference

Exporter = Literal["native", "optimum"]
# Where graphs to compare with stand in the scratch folder.
_TRACED = "traced"
_OWN_REFERENCE = "fp32.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What to make of a checkpoint, and where."""

    checkpoint: Checkpoint
    destination: Path
    precisions: tuple[Precision, ...]
    exporter: Exporter
    verify: bool
    report: Report


def export(
    source: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    precisions: Sequence[Precision] = ("int8",),
    exporter: Exporter = "native",
    verify: bool = True,
    force: bool = False,
    like: str | None = None,
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
        cache_dir: the cache; None is ``$EMBEDGE_HOME``, else the platform's cache folder.
        local_files_only: never touch the network.
        report: called with one line for each step as it ends.

    Returns:
        The bundle. If the process is killed at any point, what was there before is still there, whole.

    Raises:
        CheckpointError: the checkpoint cannot be found, read or exported.
        QualityError: a graph is too far from its reference.
        BundleError: the destination holds something else.
        MissingExtraError: a package that the exporter needs is not installed.
    """
    require_export_extra()
    if exporter == "optimum":
        require_optimum_extra()
    _check_choices(precisions, exporter)
    cache, report = cache_home(cache_dir), report or (lambda line: None)
    with step(report, "checkpoint") as note:
        fetched = fetch(str(source), cache=cache, pickles=exporter == "optimum", local_files_only=local_files_only)
        checkpoint = read_checkpoint(fetched, like=load_recipe(like) if like else None)
        note(f"{fetched.origin}, {checkpoint.architecture}, {checkpoint.pooling} pooling")
    order = _Order(
        checkpoint=checkpoint,
        destination=_cache_place(checkpoint, cache) if output is None else Path(output).expanduser().resolve(),
        precisions=tuple(dict.fromkeys(precisions)),
        exporter=exporter,
        verify=verify,
        report=report,
    )
    return _export_locked(order, force=force)


def _check_choices(precisions: Sequence[str], exporter: str) -> None:
    if not precisions or any(name not in PRECISIONS for name in precisions):
        raise CheckpointError(
            f"precisions must be some of {', '.join(PRECISIONS)}, found {', '.join(precisions) or 'none'}"
        )
    if exporter not in ("native", "optimum"):
        raise CheckpointError(f"exporter must be native or optimum, found {exporter!r}")


def _cache_place(checkpoint: Checkpoint, cache: Path) -> Path:
    """By recipe's name or hub id; a directory's by name and weights' hash, so that no fine-tune passes for another."""
    name = checkpoint.fetched.name
    if checkpoint.fetched.hub_id is None:
        plain = re.sub(r"[^\w.]+", "-", name).strip("-.") or "checkpoint"
        name = f"{plain}-{checkpoint.sha256[:8]}"
    return cached_path(name, cache)


def _export_locked(order: _Order, *, force: bool) -> Bundle:
    destination = order.destination
    if destination == Path.cwd():
        raise BundleError(f"{destination} is the current directory; give -o another, such as -o bundle")
    try:
        if (before := existing_bundle(destination)) and not missing_precisions(
            before, order.checkpoint, order.precisions, force=force
        ):
            order.report(f"{'bundle':<11}{destination} holds {', '.join(order.precisions)} already")
            return before
        destination.parent.mkdir(parents=True, exist_ok=True)
        with lock_destination(destination, order.report):
            before = existing_bundle(destination)  # again: another export may have just ended
            if before is None:
                return _make(order, keep=None, drop=None)
            order = replace(
                order, precisions=missing_precisions(before, order.checkpoint, order.precisions, force=force)
            )
            same = before.manifest.source.checkpoint_sha256 == order.checkpoint.sha256
            if not order.precisions:
                return before
            return _make(order, keep=before if same else None, drop=None if same else before)
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(
            f"{destination} cannot be written ({reason}); make room or give -o another directory"
        ) from error


def _make(order: _Order, *, keep: Bundle | None, drop: Bundle | None) -> Bundle:
    from embedge_export.bundle import record_files, staging, write_manifest, write_side_files

    with staging(order.destination, keep=keep, drop=drop) as (folder, scratch):
        write_side_files(order.checkpoint, folder)
        for precision, model in _graphs(order, scratch):
            _write_graph(model, folder / GRAPHS[precision])
        others = (
            {} if keep is None else {k: v for k, v in keep.manifest.precisions.items() if k not in order.precisions}
        )
        kept = {} if keep is None else {record.file: keep.manifest.files[record.file] for record in others.values()}
        manifest = _manifest(order, others)
        if keep is not None and not manifest.prompts:  # given by --like then, and not now
            manifest = replace(manifest, prompts=keep.manifest.prompts)
        bundle = write_manifest(folder, replace(manifest, files=record_files(folder, keep=kept)))
        if order.verify:
            bundle = write_manifest(folder, _verified(order, bundle, scratch))
    size = sum(record.size for record in bundle.manifest.files.values())
    order.report(f"{'bundle':<11}{order.destination}, {size / 1e6:.1f} MB")
    return Bundle(order.destination, bundle.manifest)


def _graphs(order: _Order, scratch: Path) -> Iterator[tuple[Precision, "ModelProto"]]:
    """A graph for every precision of the order; the float32 one is built once."""
    checkpoint = order.checkpoint
    if order.exporter == "native":
        from embedge_export.graph import build_graph
        from embedge_export.half import halve
        from embedge_export.quantise import quantise

        with step(order.report, "graph") as note:
            model = build_graph(checkpoint)
            note(f"{checkpoint.config['num_hidden_layers']} layers, hidden {checkpoint.dimension}")
        if order.verify and not has_optimum_extra():
            _write_graph(model, scratch / _OWN_REFERENCE)
        convert: Mapping[str, Callable[[ModelProto], ModelProto]] = {
            "fp32": lambda graph: graph,
            "fp16": halve,
            "int8": quantise,
        }
    else:
        from embedge_export.reference import trace
        from embedge_export.traced import convert_traced, fuse_traced

        with step(order.report, "trace") as note:
            model = fuse_traced(trace(checkpoint, scratch / _TRACED), checkpoint)
            note(f"{len(model.graph.node)} nodes after fusion")
        convert = {name: partial(convert_traced, precision=name) for name in PRECISIONS}
    for precision in order.precisions:
        with step(order.report, precision) as note:
            converted = convert[precision](model)
            note(f"{converted.ByteSize() / 1e6:.1f} MB")
        yield precision, converted


def _write_graph(model: "ModelProto", path: Path) -> None:
    from embedge_export.bundle import fresh

    try:
        data = model.SerializeToString()
    except Exception as error:  # protobuf's own exceptions, by its version
        raise CheckpointError(
            f"{path.name} is over the 2 GB that one ONNX file can hold; export int8 or fp16"
        ) from error
    fresh(path).write_bytes(data)


def _manifest(order: _Order, others: Mapping[str, PrecisionRecord]) -> Manifest:
    """The manifest but for its files and quality."""
    checkpoint, fetched = order.checkpoint, order.checkpoint.fetched
    packages = ("embedge", "onnx", "numpy") if order.exporter == "native" else ("embedge", "optimum-onnx", "torch")
    made_by = {name: version(name) for name in packages}
    new: dict[str, PrecisionRecord] = {
        name: PrecisionRecord(file=GRAPHS[name], exporter=order.exporter, made_by=made_by) for name in order.precisions
    }
    return Manifest(
        model=fetched.name,
        source=Source(
            origin=fetched.origin,
            hub_id=fetched.hub_id,
            revision=fetched.revision,
            checkpoint_sha256=checkpoint.sha256,
        ),
        licence=checkpoint.licence,
        architecture=checkpoint.architecture,
        dimension=checkpoint.dimension,
        max_tokens=checkpoint.max_tokens,
        pooling=checkpoint.pooling,
        prompts=checkpoint.prompts,
        default_prompt=checkpoint.default_prompt,
        files={},
        precisions={**others, **new},
    )


def _verified(order: _Order, bundle: Bundle, scratch: Path) -> Manifest:
    """The manifest with the quality of every new precision; raises where one is below its floor."""
    from embedge_export.verify import check_floor, check_runs, measure

    with step(order.report, "reference") as note:
        reference = _reference(order, scratch)
        note(reference.name if reference else "none: fp32 alone has none without `pip install 'embedge[optimum]'`")
    for precision in order.precisions:
        check_runs(bundle, precision)
    records = dict(bundle.manifest.precisions)
    for precision in order.precisions if reference else ():
        if reference is None or reference.name == f"{precision} graph":
            continue
        with step(order.report, "verify") as note:
            quality = measure(bundle, precision, reference)
            note(f"{precision}: cosine {quality.cosine_mean:.5f} mean, {quality.cosine_min:.5f} min")
        check_floor(bundle.manifest.model, precision, quality)
        records[precision] = replace(records[precision], quality=quality)
    return replace(bundle.manifest, precisions=records)


def _reference(order: _Order, scratch: Path) -> "Reference | None":
    """Optimum's trace where it is installed, else the native fp32 graph, which itself then has no reference."""
    from embedge_export.reference import Reference
    from embedge_export.verify import traced_reference

    if has_optimum_extra():
        return traced_reference(order.checkpoint, scratch / _TRACED)
    return None if order.precisions == ("fp32",) else Reference(scratch / _OWN_REFERENCE, "fp32 graph")
