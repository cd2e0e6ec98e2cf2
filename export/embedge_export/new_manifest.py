"""The manifest of a new bundle, from the job and the files in its folder."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import cast

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import FUSED, GRAPHS, FileRecord, Manifest, Precision, PrecisionRecord, Source
from embedge.errors import BundleError
from embedge.version import __version__
from embedge_export.bundle_files import record_files
from embedge_export.job import ExportJob


def check_same_outputs(existing: Bundle, manifest: Manifest, job: ExportJob) -> None:
    """Raise BundleError if the new graphs have other outputs than the existing ones: one manifest describes both."""
    if existing.manifest.outputs != manifest.outputs:
        raise BundleError(
            f"{job.destination} holds graphs that give {', '.join(existing.manifest.outputs)}, and --exporter "
            f"{job.exporter} makes graphs that give {', '.join(manifest.outputs)}; pass -o another directory, or "
            "delete that one first"
        )


def add_files(manifest: Manifest, folder: Path, extends: Bundle | None) -> Manifest:
    """Return the manifest with a record of every file, and with the precisions of ``extends`` that stay.

    The records of new precisions name the fused graphs that are in the folder.
    """
    others: dict[str, PrecisionRecord] = {}
    known: dict[str, FileRecord] = {}
    if extends is not None:
        old = extends.manifest
        others = {name: record for name, record in old.precisions.items() if name not in manifest.precisions}
        known = {name: old.files[name] for other in others for name in extends.graph_files(other)}
    new = {name: replace(record, fused=_find_fused(folder, name)) for name, record in manifest.precisions.items()}
    fused = [record.fused for record in new.values() if record.fused is not None]
    files = record_files(folder, known=known, fused=fused)
    return replace(manifest, precisions={**others, **new}, files=files)


def _find_fused(folder: Path, precision: str) -> str | None:
    """Return the name of the fused graph of a precision that has just been written; None if it has none."""
    name = FUSED.get(cast(Precision, precision))
    return name if name is not None and (folder / name).is_file() else None


def new_manifest(job: ExportJob) -> Manifest:
    """Return the manifest of the job, still without files and quality."""
    checkpoint, fetched = job.checkpoint, job.checkpoint.fetched
    source = Source(
        origin=fetched.origin,
        hub_id=fetched.hub_id,
        revision=fetched.revision,
        like=checkpoint.like,
        checkpoint_sha256=checkpoint.sha256,
    )
    return Manifest(
        model=fetched.name,
        source=source,
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
        precisions=_new_records(job),
    )


def _new_records(job: ExportJob) -> Mapping[str, PrecisionRecord]:
    """Return the manifest's records of the job's precisions, still without quality."""
    packages = ("onnx", "numpy") if job.exporter == "native" else ("optimum-onnx", "torch")
    # embedge's own version is not from its metadata, which a source tree on PYTHONPATH lacks.
    made_by = {"embedge": __version__, **{name: version(name) for name in packages}}
    return {
        name: PrecisionRecord(
            file=GRAPHS[name],
            exporter=job.exporter,
            calibration=job.calibration if name == "int8" else None,
            made_by=made_by,
        )
        for name in job.precisions
    }
