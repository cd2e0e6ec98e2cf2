"""A hub id at a revision -> the cache, in place of whatever is there of another."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from embedge.bundle import Bundle
from embedge.errors import BundleNotFoundError, TextValueError
from embedge.hub import find_snapshot
from embedge.manifest import MANIFEST
from embedge.options import check_string
from embedge.paths import is_dir
from embedge.place import existing_bundle, read_commit
from embedge.progress import Report
from embedge.pull import pull_bundle


def check_hub_id(model: str | PathLike[str], revision: object, *, is_path: bool) -> str:
    """The hub id that a revision may be asked of.

    Raises:
        TextTypeError: the revision is no string.
        TextValueError: it is empty, or ``model`` is a path or a recipe's name.
    """
    if not check_string("revision", revision):
        raise TextValueError("revision is empty; give a branch, tag or commit, or leave it out")
    name = str(model)
    if is_path or is_dir(Path(model)):
        raise TextValueError(f"revision is for a hub id, found a path, {name}; leave it out")
    if "/" not in name:
        raise TextValueError(
            f"revision is for a hub id (organisation/name), found a name, {name}; leave it out: recipes pin a commit"
        )
    return name


def pull_revision(
    hub_id: str, revision: str, destination: Path, *, precisions: Sequence[str] | None, report: Report
) -> Bundle:
    """The bundle that a repository holds at a revision. A commit that is there, whole, is not asked for.

    Args:
        hub_id: organisation/name.
        revision: branch, tag or commit.
        destination: the bundle's directory.
        precisions: of the graphs, as in ``pull_bundle``, beside those that are there.
        report: is told what is brought.

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
    return held or pull_bundle(snapshot, destination, precisions=precisions, report=report)


def _held(commit: str, destination: Path, precisions: Sequence[str] | None) -> Bundle | None:
    """The bundle at the destination, if it is that commit's, whole, with these precisions."""
    if read_commit(destination) != commit:
        return None
    found = existing_bundle(destination)
    has_all = found is not None and set(precisions or ()) <= set(found.manifest.precisions)
    is_held = found is not None and has_all and found.is_whole() and read_commit(destination) == commit
    return found if is_held else None  # not if another pull has swapped it meanwhile
