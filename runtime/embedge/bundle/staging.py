"""Builds a bundle beside its destination, under a lock, and puts it in place in one atomic step."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from embedge.bundle.commit import COMMIT
from embedge.bundle.directory import Bundle
from embedge.bundle.exchange import exchange
from embedge.bundle.file_lock import LockedFile
from embedge.bundle.files import delete_existing, link_or_copy
from embedge.bundle.manifest import MANIFEST
from embedge.errors import BundleError
from embedge.progress import log_step

_OLD = "before"  # the replaced directory's name between two renames, where the system cannot exchange directories
_PAUSE = 0.05  # seconds between two attempts to get the lock


def write_manifest(folder: Path, text: str) -> Bundle:
    """Write the manifest of a bundle that is being built, and read it back. Every manifest is written here.

    Args:
        folder: the bundle's folder.
        text: JSON with its checksum, from ``Manifest.to_json`` or ``select_precisions``.

    Raises:
        BundleError: it cannot be read back.
    """
    delete_existing(folder / MANIFEST).write_bytes(text.encode())
    return Bundle.open(folder)


def existing_bundle(destination: Path) -> Bundle | None:
    """Return the bundle at the destination; None if the destination is an empty directory or does not exist.

    Raises:
        BundleError: something else is there, or the bundle's manifest cannot be read.
    """
    try:
        if (destination / MANIFEST).is_file():
            return Bundle.open(destination)
        is_free = not os.path.lexists(destination) or (destination.is_dir() and not any(destination.iterdir()))
    except BundleError as error:
        raise BundleError(f"{error}; or delete {destination} and run the command again") from error
    except OSError as error:
        raise BundleError(
            f"{destination} cannot be read ({error.strerror or error}); choose another directory by -o or EMBEDGE_HOME"
        ) from error
    if not is_free:
        raise BundleError(f"{destination} exists and is not a bundle; delete it, or pass -o a new or empty directory")
    return None


@contextlib.contextmanager
def lock_destination(destination: Path) -> Iterator[None]:
    """Let one process at a time write to a destination; log that this one waits, if it has to.

    What a killed process left behind is deleted. The lock is a file beside the destination, deleted at the end.
    """
    with _held(destination, "lock") as lock:
        if not lock.is_locked:
            log_step(
                f"{'warning':<11}the file system of {destination} has no locks: start no other process that writes it"
            )
        _clean_up(destination)
        yield


@contextlib.contextmanager
def queue_for(destination: Path) -> Iterator[None]:
    """Let one process at a time find out what to write to a destination, such as by asking the hub; the rest wait.

    The processes of a machine often start together. The first one asks and writes; the others then find what they need.
    The system releases the lock of a killed process, and the next one in the queue goes on.
    """
    with _held(destination, "queue"):
        yield


@contextlib.contextmanager
def _held(destination: Path, name: str) -> Iterator[LockedFile]:
    destination.parent.mkdir(parents=True, exist_ok=True)
    lock = LockedFile(destination.parent / f".{destination.name}.{name}", "lock")
    try:
        if not lock.acquire():
            log_step(f"{'waiting':<11}for another process that writes {destination}")
            while not lock.acquire():
                time.sleep(_PAUSE)
        yield lock
    finally:
        if not lock.is_acquired:  # interrupted after the lock file was created, or while another process had it
            with contextlib.suppress(OSError):
                lock.acquire()
        lock.remove()


def _work_folder(destination: Path) -> Path:
    return destination.parent / f".{destination.name}.partial"


def _clean_up(destination: Path) -> None:
    """Delete the folder of a build. If the build was killed between two renames, put the old bundle back first."""
    work = _work_folder(destination)
    old = work / _OLD
    if old.exists() and not os.path.lexists(destination):
        old.rename(destination)
    if work.exists():
        if work.is_symlink() or not work.is_dir():
            work.unlink()
        else:
            shutil.rmtree(work)


@contextlib.contextmanager
def report_write_errors(destination: Path) -> Iterator[None]:
    """Turn an OSError of the block into a BundleError that says that the destination cannot be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(
            f"{destination} cannot be written ({reason}); make room, or choose another directory by -o or EMBEDGE_HOME"
        ) from error


@contextlib.contextmanager
def staging(
    destination: Path, *, extends: Bundle | None = None, replaces: Bundle | None = None
) -> Iterator[tuple[Path, Path]]:
    """Yield a folder to build a bundle in, and one for temporary files; at the end the first becomes the destination.

    If the block raises, the destination stays as it was. If the process is killed, the destination is the old bundle
    or the new one, and complete. The next process that locks the destination deletes what a killed one left behind.

    Args:
        destination: the bundle's directory: absent, empty, or a bundle. The caller has locked it.
        extends: the bundle at the destination, if the new one starts with its files. They are hard links, or copies
            if the file system has no hard links.
        replaces: the bundle at the destination, if the new one starts without its files. Files that its manifest does
            not name, such as the user's own, are linked all the same.
    """
    work = _work_folder(destination)
    folder, scratch = work / "bundle", work / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    try:
        old = extends or replaces
        if old is not None:
            dropped = {old.path / name for name in (*replaces.manifest.files, MANIFEST)} if replaces else set()
            # The new bundle is not the hub commit that the old one was downloaded from.
            _link_tree(old.path, folder, {*dropped, old.path / COMMIT})
        yield folder, scratch
        flush_folder(folder)
        _put_in_place(folder, destination)
    finally:
        with contextlib.suppress(OSError):
            _clean_up(destination)


def _link_tree(source: Path, target: Path, leave_out: set[Path]) -> None:
    for path in source.rglob("*"):
        if not leave_out.isdisjoint((path, *path.parents)):
            continue
        if path.name.startswith((f".{COMMIT}.partial", f"{COMMIT}.partial")):
            continue  # a killed process left it behind
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
            continue
        if path.is_dir():
            copy.mkdir(exist_ok=True)
            continue
        link_or_copy(path, copy)


def flush_folder(folder: Path) -> None:
    """Flush everything in the folder to the disk, so that a power cut after the exchange loses nothing."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir() or (path.is_file() and not path.is_symlink()):  # opening a pipe would block
            flush(path)


def flush(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a directory
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(folder: Path, destination: Path) -> None:
    """Make the built folder the destination in one step."""
    try:
        if not destination.exists():
            folder.rename(destination)
        elif not exchange(folder, destination):
            _swap_by_two_renames(folder, destination)
    except OSError as error:
        raise BundleError(
            f"{destination} cannot be replaced ({error.strerror or error}); close the programs that use it"
        ) from error


def _swap_by_two_renames(folder: Path, destination: Path) -> None:
    """Replace the destination on a system that cannot exchange directories.

    If the process is killed between the two renames, ``_clean_up`` puts the old bundle back.
    """
    destination.rename(folder.parent / _OLD)
    folder.rename(destination)  # if this fails, ``staging`` puts the old bundle back
