"""A bundle that a repository on the hub holds -> the cache: its files checked, whole or not at all."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from embedge.bundle import Bundle
from embedge.errors import BundleError, escape
from embedge.hub import Snapshot, read_blocks
from embedge.manifest import LARGEST_MANIFEST, MANIFEST, PRECISIONS, Manifest
from embedge.place import existing_bundle, lock_destination, read_commit, staging, write_commit, writing
from embedge.progress import Report
from embedge.transfer import local_blocks, narrow, pick_precisions, transfer


def pull_bundle(snapshot: Snapshot, destination: Path, *, precisions: Sequence[str] | None, report: Report) -> Bundle:
    """Download a repository's bundle, or what the one that is there lacks of it: another revision's is replaced.

    Only the precisions that are asked for, beside those that are there already: an int8 graph is a quarter of fp32's
    size. The manifest is cut down to them, so that what is in the cache is whole.

    Args:
        snapshot: of a repository with a manifest.
        destination: the bundle's directory.
        precisions: of the graphs; None is int8, or the only one that there is.
        report: is told what happens.

    Raises:
        HubError: the hub cannot be reached, refuses or fails.
        BundleCorruptError: a file is not what the manifest says.
        BundleError: the manifest cannot be used, or the destination cannot be written.
        PrecisionNotFoundError: the repository lacks a precision.
    """
    where = f"{snapshot.hub_id} on the hub"
    text = _read_manifest(snapshot, where)
    offered = Manifest.from_json(text, where=f"{MANIFEST} of {where}")
    wanted = pick_precisions(offered, precisions, where=where)
    with writing(destination), lock_destination(destination, report):
        before = existing_bundle(destination)
        held = before.manifest.precisions if before else {}
        text = narrow(text, [name for name in PRECISIONS if name in wanted or name in held])
        manifest = Manifest.from_json(text)
        if before and before.manifest == manifest and before.is_whole():
            if read_commit(destination) != snapshot.commit:
                write_commit(destination, snapshot.commit)
            return before  # another process was faster, or the commit changed other files
        size = sum(record.size for record in manifest.files.values())
        report(f"{'download':<11}{snapshot.hub_id}@{snapshot.commit[:12]}, {size / 1e6:.1f} MB")

        def source(name: str) -> Iterable[bytes]:
            record = manifest.files[name]
            if before and before.manifest.files.get(name) == record and before.is_whole([name]):
                return local_blocks(before.path / name)
            return _read_remote(snapshot, name, record.size)

        with staging(destination, keep=None, drop=before) as (folder, _):
            transfer(text, source, folder, where=where)
            write_commit(folder, snapshot.commit)
    report(escape(f"{'bundle':<11}{destination}"))
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
