"""Compares an export with the bundle that already exists at its destination, and finds what is left to make."""

from dataclasses import replace
from hashlib import sha256

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import PRECISIONS, TOKENIZER, Manifest, Precision, PrecisionRecord
from embedge.errors import BundleError
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.recipe import find_recipe
from embedge_export.job import ExportJob

# Early bundles have a hash that does not cover the files with these settings, so the settings are compared one by one.
_SETTINGS = (
    "max_tokens",
    "truncation_side",
    "pooling",
    "similarity",
    "normalize",
    "prompts",
    "default_prompt",
)


def reuse_recipe(existing: Bundle, job: ExportJob) -> ExportJob:
    """Return the job with the recipe (``like``) of the existing bundle, if the job names none.

    The job is unchanged if it names a recipe itself, or if the bundle was made from other files.
    """
    source, checkpoint = existing.manifest.source, job.checkpoint
    if source.like is None or checkpoint.like is not None or not hash_matches(existing.manifest, checkpoint):
        return job
    recipe = find_recipe(source.like)  # None if a newer embedge, with more recipes, made the bundle
    return replace(job, checkpoint=read_checkpoint(checkpoint.fetched, like=recipe)) if recipe else job


def hash_matches(manifest: Manifest, checkpoint: Checkpoint) -> bool:
    """Whether the hash of a bundle's checkpoint, by today's formula or the first one, is that of this checkpoint."""
    return manifest.source.checkpoint_sha256 in (checkpoint.hashes.current, checkpoint.hashes.legacy)


def was_made_from(existing: Bundle, checkpoint: Checkpoint) -> bool:
    """Whether a bundle was made from this checkpoint, with the same ``like`` and the same settings."""
    same_like = existing.manifest.source.like == checkpoint.like
    return hash_matches(existing.manifest, checkpoint) and same_like and not _changed_settings(existing, checkpoint)


def _changed_settings(existing: Bundle, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the settings that changed since an early bundle was made; none for a bundle with today's hash."""
    if existing.manifest.source.checkpoint_sha256 == checkpoint.hashes.current:
        return ()
    names = tuple(name for name in _SETTINGS if getattr(existing.manifest, name) != getattr(checkpoint, name))
    tokenizer = existing.manifest.files.get(TOKENIZER)
    same = tokenizer is not None and tokenizer.sha256 == sha256(checkpoint.tokenizer.data).hexdigest()
    return names if same else (*names, TOKENIZER)


def missing_precisions(existing: Bundle, job: ExportJob, *, force: bool) -> tuple[Precision, ...]:
    """Return the precisions to make: those of the job that the bundle lacks, and those with a damaged file.

    int8 is made again if the job gives another calibration file, or if an earlier native exporter did not calibrate it.

    Raises:
        BundleError: without ``force``: the bundle was made from another checkpoint or with another ``like``, or a
            damaged graph was made with other options than the job's.
    """
    if not was_made_from(existing, job.checkpoint):
        if force:
            return job.precisions
        fact = _describe_difference(existing, job)
        raise BundleError(f"{fact}pass -o another directory, or --force to replace the bundle")
    records = existing.manifest.precisions
    damaged = {name for name in records if not existing.is_whole(existing.graph_files(name))}
    for name in () if force else sorted(damaged):
        _check_same_options(existing, name, job)
    usable = set() if force else set(records) - damaged
    if "int8" in usable and _needs_calibration(records["int8"], job):
        usable.remove("int8")
    return tuple(name for name in PRECISIONS if name in damaged or (name in job.precisions and name not in usable))


def _describe_difference(existing: Bundle, job: ExportJob) -> str:
    """Say how the bundle's checkpoint or settings differ from the job's, and which option makes them equal, if any."""
    source = existing.manifest.source
    if not hash_matches(existing.manifest, job.checkpoint):
        return f"{existing.path} was made from another checkpoint, {source.origin}, or before the checkpoint changed; "
    if source.like != job.checkpoint.like:
        if source.like:
            return f"{existing.path} was made with --like {source.like}; pass --like {source.like}, or "
        return f"{existing.path} was made without --like; leave --like out, or "
    changed = ", ".join(_changed_settings(existing, job.checkpoint))
    return f"{existing.path} was made with other settings ({changed}) than {job.checkpoint.fetched.directory} has now; "


def side_files(existing: Bundle) -> list[str]:
    """Return the names of the bundle's files other than its graphs."""
    graphs = {name for precision in existing.manifest.precisions for name in existing.graph_files(precision)}
    return [name for name in existing.manifest.files if name not in graphs]


def _needs_calibration(record: PrecisionRecord, job: ExportJob) -> bool:
    """Whether an int8 graph must be made again, because it is not calibrated as the job asks."""
    if job.calibration is None:
        return False
    if record.calibration is None:
        return record.exporter == "native" or job.calibration.file is not None
    return job.calibration.file is not None and record.calibration.sha256 != job.calibration.sha256


def _check_same_options(existing: Bundle, name: str, job: ExportJob) -> None:
    """Raise BundleError if the job would replace a damaged graph by a different one without saying so."""
    record = existing.manifest.precisions[name]
    calibrated_with = record.calibration.file if record.calibration else None
    fact = f"{existing.path / record.file} is damaged, and was made "
    if record.exporter != job.exporter:
        raise BundleError(
            f"{fact}with --exporter {record.exporter}; export it that way again with --precision {name} first, or "
            "pass --force"
        )
    if calibrated_with and (job.calibration is None or job.calibration.file is None):
        raise BundleError(
            f"{fact}with --calibration {calibrated_with}; pass that file again, or --force to do without it"
        )
