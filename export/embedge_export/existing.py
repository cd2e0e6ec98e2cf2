"""What of an export is still to be made, where a bundle is already."""

from dataclasses import replace
from hashlib import sha256

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import PRECISIONS, TOKENIZER, Manifest, Precision, PrecisionRecord
from embedge.errors import BundleError
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.recipe import find_recipe
from embedge_export.job import ExportJob

# What a bundle of before embedge hashed all files may have been made with, though its hash is the checkpoint's.
_SETTINGS = (
    "max_tokens",
    "truncation_side",
    "pooling",
    "similarity",
    "normalize",
    "prompts",
    "default_prompt",
)


def as_before(before: Bundle, job: ExportJob) -> ExportJob:
    """The job, or where it names no recipe for what the checkpoint does not say, the same with the bundle's."""
    made, checkpoint = before.manifest.source, job.checkpoint
    if made.like is None or checkpoint.like is not None or not has_files_of(before.manifest, checkpoint):
        return job
    recipe = find_recipe(made.like)  # a later embedge may know more of them
    return replace(job, checkpoint=read_checkpoint(checkpoint.fetched, like=recipe)) if recipe else job


def has_files_of(manifest: Manifest, checkpoint: Checkpoint) -> bool:
    """Whether a bundle was made of the checkpoint's files, as far as it recorded them."""
    return manifest.source.checkpoint_sha256 in (checkpoint.hashes.now, checkpoint.hashes.before)


def is_of(before: Bundle, checkpoint: Checkpoint) -> bool:
    """Whether a bundle was made from the checkpoint, what it does not say being taken from the same recipe."""
    made = before.manifest.source
    return (
        has_files_of(before.manifest, checkpoint) and made.like == checkpoint.like and not _changed(before, checkpoint)
    )


def _changed(before: Bundle, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Of a bundle whose hash left the settings out, those that it was made with and that are others now."""
    if before.manifest.source.checkpoint_sha256 == checkpoint.hashes.now:
        return ()
    names = tuple(name for name in _SETTINGS if getattr(before.manifest, name) != getattr(checkpoint, name))
    tokenizer = before.manifest.files.get(TOKENIZER)
    same = tokenizer is not None and tokenizer.sha256 == sha256(checkpoint.tokenizer.data).hexdigest()
    return names if same else (*names, TOKENIZER)


def missing_precisions(before: Bundle, job: ExportJob, *, force: bool) -> tuple[Precision, ...]:
    """The precisions to make: those asked for that the bundle lacks, and any of which the file is not whole.

    int8 that was not fitted to the file that is given is made anew, and so is int8 of a native exporter that did not
    fit it yet.

    Raises:
        BundleError: without ``force``: the bundle is of another checkpoint, or made with another ``like``, or holds a
            damaged graph that this job would not make as it was made.
    """
    if not is_of(before, job.checkpoint):
        if force:
            return job.precisions
        raise BundleError(f"{_other(before, job)}, give -o another directory, or --force to replace it")
    records = before.manifest.precisions
    broken = {name for name in records if not before.is_whole(before.graph_files(name))}
    for name in () if force else sorted(broken):
        _check_makes_as_before(before, name, job)
    held = set() if force else set(records) - broken
    if "int8" in held and _is_outdated(records["int8"], job):
        held.remove("int8")
    return tuple(name for name in PRECISIONS if name in broken or (name in job.precisions and name not in held))


def _other(before: Bundle, job: ExportJob) -> str:
    """What a bundle was made from, or with, that is not the job's."""
    made = before.manifest.source
    if not has_files_of(before.manifest, job.checkpoint):
        return f"{before.path} was made from another checkpoint, {made.origin}, or before it changed"
    if made.like != job.checkpoint.like:
        found = f"with --like {made.like}; give that" if made.like else "without --like; leave it out"
        return f"{before.path} was made {found}"
    changed = ", ".join(_changed(before, job.checkpoint))
    return f"{before.path} was made with other settings ({changed}) than {job.checkpoint.fetched.directory} has now"


def side_files(before: Bundle) -> list[str]:
    """The bundle's files but for its graphs."""
    graphs = {name for precision in before.manifest.precisions for name in before.graph_files(precision)}
    return [name for name in before.manifest.files if name not in graphs]


def _is_outdated(record: PrecisionRecord, job: ExportJob) -> bool:
    if job.calibration is None:
        return False
    if record.calibration is None:
        return record.exporter == "native" or job.calibration.file is not None
    return job.calibration.file is not None and record.calibration.sha256 != job.calibration.sha256


def _check_makes_as_before(before: Bundle, name: str, job: ExportJob) -> None:
    """Raises BundleError where a damaged graph would silently become another."""
    record = before.manifest.precisions[name]
    fitted_to = record.calibration.file if record.calibration else None
    found = f"{before.path / record.file} is damaged, and was made "
    if record.exporter != job.exporter:
        raise BundleError(
            f"{found}with --exporter {record.exporter}; export it so again with --precision {name} first, or --force"
        )
    if fitted_to and (job.calibration is None or job.calibration.file is None):
        raise BundleError(f"{found}with --calibration {fitted_to}; give that file again, or --force to do without it")
