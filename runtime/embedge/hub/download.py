"""Downloads a bundle from a repository on the hub to a directory, which holds the whole bundle or stays as it was."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from embedge.bundle.commit import read_commit, write_commit
from embedge.bundle.cut import Cut, cut
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import LARGEST_MANIFEST, MANIFEST, PRECISIONS, Manifest, Precision
from embedge.bundle.precision import pick_precision, pick_precisions
from embedge.bundle.remedy import export_command
from embedge.bundle.staging import existing_bundle, lock_destination, report_write_errors, staging
from embedge.bundle.write_files import local_blocks, write_bundle
from embedge.errors import BundleError, BundleNotFoundError
from embedge.hub.client import Snapshot, find_snapshot
from embedge.hub.download_file import read_blocks
from embedge.progress import log_step


def download_revision(hub_id: str, revision: str, destination: Path, *, precisions: Sequence[str] | None) -> Bundle:
    """Download the bundle of a repository at a revision.

    The hub is not asked if ``revision`` is a commit, and the destination has the whole bundle of that commit already.

    Args:
        hub_id: organisation/name.
        revision: branch, tag or commit.
        destination: the bundle's directory.
        precisions: as for ``download``.

    Raises:
        HubError: there is no such revision, or the hub cannot be reached, refuses or fails.
        BundleNotFoundError: the repository holds no bundle at this revision.
        BundleError: as for ``download``. The destination is then as it was before.
    """
    if bundle := _bundle_of_commit(revision, destination, precisions):
        return bundle
    snapshot = find_snapshot(hub_id, revision)
    if MANIFEST not in snapshot.files:
        raise BundleNotFoundError(
            f"{hub_id} holds no bundle at revision {revision!r} (no {MANIFEST}); choose a revision that holds one, "
            "or leave the revision out"
        )
    bundle = _bundle_of_commit(snapshot.commit, destination, precisions)
    return bundle or download(snapshot, destination, precisions=precisions)


def _bundle_of_commit(commit: str, destination: Path, precisions: Sequence[str] | None) -> Bundle | None:
    """The bundle at the destination, if it is whole, was downloaded at that commit and has these precisions."""
    if read_commit(destination) != commit:
        return None
    bundle = existing_bundle(destination)
    if bundle is None or not set(precisions or ()) <= set(bundle.manifest.precisions) or not bundle.is_whole():
        return None
    return bundle if read_commit(destination) == commit else None  # another process may have replaced it meanwhile


def download(
    snapshot: Snapshot, destination: Path, *, precisions: Sequence[str] | None, preferred: Sequence[Precision] = ()
) -> Bundle:
    """Download a repository's bundle, or the files that the bundle at the destination lacks.

    A bundle of another revision is replaced. Of the graphs, only the precisions that are asked for are downloaded,
    beside those that are there already: an int8 graph is a quarter of fp32's size. The manifest and config.json are
    reduced to the same precisions, so that the bundle is complete by its own manifest.

    Args:
        snapshot: a commit of a repository with a manifest.
        destination: the bundle's directory.
        precisions: the precisions of the graphs; None is the first of ``preferred`` that the repository has; without
            ``preferred`` int8, or the only one that it has.
        preferred: download the first of these that the repository has, too.

    Raises:
        HubError: the hub cannot be reached, refuses or fails.
        BundleCorruptError: a file has another size or hash than the manifest says.
        BundleError: the manifest cannot be used, or the destination cannot be written.
        PrecisionNotFoundError: the repository lacks a precision.
    """
    where = f"{snapshot.hub_id} on the hub"
    text = _read_manifest(snapshot, where)
    offered = Manifest.from_json(text, where=f"{MANIFEST} of {where}")
    command = partial(export_command, offered)
    wanted: tuple[Precision, ...] = ()
    if precisions or not preferred:
        wanted = pick_precisions(offered, precisions, where=where, command=command)
    if preferred:
        wanted = (*wanted, pick_precision(offered, None, where=where, command=command, preferred=preferred))
    with report_write_errors(destination), lock_destination(destination):
        existing = existing_bundle(destination)
        present = existing.manifest.precisions if existing else {}
        kept = [name for name in PRECISIONS if name in wanted or name in present]
        left = cut(text, kept, lambda name: _remote_blocks(snapshot, name, offered.files[name].size), where=where)
        manifest = Manifest.from_json(left.text)
        if existing and existing.manifest == manifest and existing.is_whole():
            # Another process was faster, or the commit changed only files that are not the bundle's.
            if read_commit(destination) != snapshot.commit:
                write_commit(destination, snapshot.commit)
            return existing
        return _replace(destination, existing, snapshot, left, manifest)


def _replace(destination: Path, existing: Bundle | None, snapshot: Snapshot, left: Cut, manifest: Manifest) -> Bundle:
    """Build what is left of a snapshot's bundle beside the destination, then put it there in one step."""
    log_step(f"{'download':<11}{snapshot.hub_id}@{snapshot.commit[:12]}, {manifest.size / 1e6:.1f} MB")

    def source(name: str) -> Iterable[bytes]:
        record = manifest.files[name]
        if existing and existing.manifest.files.get(name) == record and existing.is_whole([name]):
            return local_blocks(existing.path / name)
        return _remote_blocks(snapshot, name, record.size)

    with staging(destination, replaces=existing) as (folder, _):
        write_bundle(left.text, left.reads(source), folder, where=f"{snapshot.hub_id} on the hub")
        write_commit(folder, snapshot.commit)
    log_step(f"{'bundle':<11}{destination}")
    return Bundle(destination, manifest)


def _remote_blocks(snapshot: Snapshot, name: str, size: int) -> Iterable[bytes]:
    if name not in snapshot.files:
        raise BundleError(
            f"{snapshot.hub_id} on the hub lacks {name}, which its {MANIFEST} names; ask its owner to push it again"
        )
    return read_blocks(snapshot, name, size)


def _read_manifest(snapshot: Snapshot, where: str) -> str:
    data = b""
    for block in read_blocks(snapshot, MANIFEST, snapshot.files[MANIFEST].size):
        data += block
        if len(data) > LARGEST_MANIFEST:
            raise BundleError(f"{MANIFEST} of {where} is over {LARGEST_MANIFEST} bytes; ask its owner to push it again")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"{MANIFEST} of {where} is not UTF-8 ({error.reason})"
        raise BundleError(f"{reason}; ask its owner to push it again") from error
