"""A bundle that a repository on the hub holds -> the cache: its files checked, whole or not at all."""

from collections.abc import Iterable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path

from embedge.bundle.commit import read_commit, write_commit
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import LARGEST_MANIFEST, MANIFEST, PRECISIONS, Manifest
from embedge.bundle.paths import is_dir
from embedge.bundle.precision import pick_precisions
from embedge.bundle.remedy import export_command
from embedge.bundle.staging import existing_bundle, lock_destination, report_write_errors, staging
from embedge.bundle.write_files import local_blocks, select_precisions, write_bundle
from embedge.errors import BundleError, BundleNotFoundError, InputTypeError, InputValueError
from embedge.hub.client import Snapshot, find_snapshot, read_blocks
from embedge.progress import log_step


def pull_bundle(snapshot: Snapshot, destination: Path, *, precisions: Sequence[str] | None) -> Bundle:
    """Download a repository's bundle, or what the one that is there lacks of it: another revision's is replaced.

    Only the precisions that are asked for, beside those that are there already: an int8 graph is a quarter of fp32's
    size. The manifest is cut down to them, so that what is in the cache is whole.

    Args:
        snapshot: of a repository with a manifest.
        destination: the bundle's directory.
        precisions: of the graphs; None is int8, or the only one that there is.

    Raises:
        HubError: the hub cannot be reached, refuses or fails.
        BundleCorruptError: a file is not what the manifest says.
        BundleError: the manifest cannot be used, or the destination cannot be written.
        PrecisionNotFoundError: the repository lacks a precision.
    """
    where = f"{snapshot.hub_id} on the hub"
    text = _read_manifest(snapshot, where)
    offered = Manifest.from_json(text, where=f"{MANIFEST} of {where}")
    command = partial(export_command, offered)
    wanted = pick_precisions(offered, precisions, where=where, command=command)
    with report_write_errors(destination), lock_destination(destination):
        before = existing_bundle(destination)
        held = before.manifest.precisions if before else {}
        text = select_precisions(text, [name for name in PRECISIONS if name in wanted or name in held])
        manifest = Manifest.from_json(text)
        if before and before.manifest == manifest and before.is_whole():
            if read_commit(destination) != snapshot.commit:
                write_commit(destination, snapshot.commit)
            return before  # another process was faster, or the commit changed other files
        size = sum(record.size for record in manifest.files.values())
        log_step(f"{'download':<11}{snapshot.hub_id}@{snapshot.commit[:12]}, {size / 1e6:.1f} MB")

        def source(name: str) -> Iterable[bytes]:
            record = manifest.files[name]
            if before and before.manifest.files.get(name) == record and before.is_whole([name]):
                return local_blocks(before.path / name)
            return _read_remote(snapshot, name, record.size)

        with staging(destination, replaces=before) as (folder, _):
            write_bundle(text, source, folder, where=where)
            write_commit(folder, snapshot.commit)
    log_step(f"{'bundle':<11}{destination}")
    return Bundle(destination, manifest)


def _read_remote(snapshot: Snapshot, name: str, size: int) -> Iterable[bytes]:
    if name not in snapshot.files:
        raise BundleError(
            f"{snapshot.hub_id} on the hub lacks {name}, which its {MANIFEST} names; have it pushed again"
        )
    return read_blocks(snapshot, name, size)


def _read_manifest(snapshot: Snapshot, where: str) -> str:
    data = b""
    for block in read_blocks(snapshot, MANIFEST, snapshot.files[MANIFEST].size):
        data += block
        if len(data) > LARGEST_MANIFEST:
            raise BundleError(f"{MANIFEST} of {where} is over {LARGEST_MANIFEST} bytes; push it again")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{MANIFEST} of {where} is not UTF-8 ({error.reason}); push it again") from error


def check_hub_id(model: str | PathLike[str], revision: object, *, is_path: bool) -> str:
    """The hub id that a revision may be asked of.

    Raises:
        InputTypeError: the revision is no string.
        InputValueError: it is empty, or ``model`` is a path or a recipe's name.
    """
    if not isinstance(revision, str):
        raise InputTypeError(f"revision must be a string, found {type(revision).__name__}")
    if not revision:
        raise InputValueError("revision is empty; give a branch, tag or commit, or leave it out")
    name = str(model)
    if is_path or is_dir(Path(model)):
        raise InputValueError(f"revision is for a hub id, found a path, {name}; leave it out")
    if "/" not in name:
        raise InputValueError(
            f"revision is for a hub id (organisation/name), found a name, {name}; leave it out: recipes pin a commit"
        )
    return name


def pull_revision(hub_id: str, revision: str, destination: Path, *, precisions: Sequence[str] | None) -> Bundle:
    """The bundle that a repository holds at a revision. A commit that is there, whole, is not asked for.

    Args:
        hub_id: organisation/name.
        revision: branch, tag or commit.
        destination: the bundle's directory.
        precisions: of the graphs, as in ``pull_bundle``, beside those that are there.

    Raises:
        HubError: there is no such revision, or the hub cannot be reached, refuses or fails.
        BundleNotFoundError: what is there at this revision is no bundle.
        BundleError: as ``pull_bundle``. What was at the destination is there still.
    """
    if held := _held(revision, destination, precisions):
        return held
    snapshot = find_snapshot(hub_id, revision)
    if MANIFEST not in snapshot.files:
        raise BundleNotFoundError(
            f"{hub_id} holds no bundle at revision {revision!r} (no {MANIFEST}); give one at which it does, or none"
        )
    held = _held(snapshot.commit, destination, precisions)
    return held or pull_bundle(snapshot, destination, precisions=precisions)


def _held(commit: str, destination: Path, precisions: Sequence[str] | None) -> Bundle | None:
    """The bundle at the destination, if it is that commit's, whole, with these precisions."""
    if read_commit(destination) != commit:
        return None
    found = existing_bundle(destination)
    has_all = found is not None and set(precisions or ()) <= set(found.manifest.precisions)
    is_held = found is not None and has_all and found.is_whole() and read_commit(destination) == commit
    return found if is_held else None  # not if another pull has swapped it meanwhile
