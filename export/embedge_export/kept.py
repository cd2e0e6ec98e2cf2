"""Keeps a new bundle whose quality is below its floor, until somebody accepts it.

It is a hidden folder beside the destination, complete and with its quality report, so that ``embedge export
--accept-quality`` can take it without computing it again. The next export to the same destination that ends deletes it.
"""

import shutil
from pathlib import Path

from embedge.bundle.directory import Bundle
from embedge.bundle.files import delete_existing, link_or_copy
from embedge.bundle.manifest import MANIFEST, FileRecord, PrecisionRecord
from embedge.bundle.staging import staging
from embedge.errors import BundleError
from embedge_export.existing import was_made_from
from embedge_export.job import ExportJob


def kept_folder(destination: Path) -> Path:
    """Return the folder of the bundle that is kept for a destination."""
    return destination.with_name(f".{destination.name}.below-floor")


def keep(folder: Path, destination: Path) -> Path:
    """Move the folder of a new bundle beside its destination, and return where it is now."""
    kept = forget_kept(destination)
    folder.rename(kept)
    return kept


def forget_kept(destination: Path) -> Path:
    """Delete the bundle that is kept for a destination, if there is one; return its folder."""
    kept = kept_folder(destination)
    if kept.exists():
        shutil.rmtree(kept)
    return kept


def find_kept(job: ExportJob, existing: Bundle | None) -> Bundle | None:
    """Return the bundle that is kept for a job's destination, if it is whole and what the job would make.

    Args:
        job: the export, with the precisions that are left to make.
        existing: the bundle at the destination, whose other precisions stay.
    """
    try:
        kept = Bundle.open(kept_folder(job.destination))
        kept.check()
    except BundleError:  # there is none, or it is damaged
        return None
    records = kept.manifest.precisions
    extends = existing is not None and was_made_from(existing, job.checkpoint)
    stay = _other_graphs(existing, job) if existing is not None and extends else {}
    same = set(job.precisions) <= set(records) and _other_graphs(kept, job) == stay
    same = same and all(_is_as_asked(records[name], name, job) for name in job.precisions)
    return kept if same and was_made_from(kept, job.checkpoint) else None


def take_kept(kept: Bundle, destination: Path, existing: Bundle | None) -> Bundle:
    """Put a kept bundle in the place of its destination, in one step, and return it there.

    Files that are the user's own stay as they are now in the existing bundle.
    """
    with staging(destination, replaces=existing) as (folder, _):
        for name in (*kept.manifest.files, MANIFEST):
            target = delete_existing(folder / name)
            target.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(kept.path / name, target)
    forget_kept(destination)
    return Bundle(destination, kept.manifest)


def _other_graphs(bundle: Bundle, job: ExportJob) -> dict[str, list[FileRecord]]:
    """Return the files of each precision that the job does not make."""
    others = set(bundle.manifest.precisions) - set(job.precisions)
    return {name: [bundle.manifest.files[file] for file in bundle.graph_files(name)] for name in others}


def _is_as_asked(record: PrecisionRecord, name: str, job: ExportJob) -> bool:
    calibration = job.calibration if name == "int8" else None
    return record.exporter == job.exporter and record.calibration == calibration and record.quality is not None
