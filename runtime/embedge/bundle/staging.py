"""How a bundle gets to its place: built whole beside it under a lock, then put there in one step."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from embedge.bundle.commit import COMMIT
from embedge.bundle.directory import Bundle
from embedge.bundle.exchange import exchange
from embedge.bundle.file_lock import HeldFile
from embedge.bundle.files import fresh, link
from embedge.bundle.manifest import MANIFEST
from embedge.errors import BundleError
from embedge.progress import log_step

_BEFORE = "before"  # where what is replaced waits, if two renames are needed
_PAUSE = 0.05  # seconds between looks whether a lock is free


def write_manifest(folder: Path, text: str) -> Bundle:
    """The manifest into a bundle that is being built: every one that is written goes through here, and is read back.

    Args:
        folder: the bundle's.
        text: JSON with its checksum, as ``Manifest.to_json`` and ``transfer.narrow`` give it.

    Raises:
        BundleError: it could not be opened again.
    """
    fresh(folder / MANIFEST).write_bytes(text.encode())
    return Bundle.open(folder)


def existing_bundle(destination: Path) -> Bundle | None:
    """The bundle at the destination; None where there is nothing yet.

    Raises:
        BundleError: something else is there, or the bundle's manifest cannot be read.
    """
    try:
        if (destination / MANIFEST).is_file():
            return Bundle.open(destination)
        is_free = not os.path.lexists(destination) or (destination.is_dir() and not any(destination.iterdir()))
    except BundleError as error:
        raise BundleError(f"{error}; delete {destination} to make it anew") from error
    except OSError as error:
        raise BundleError(
            f"{destination} cannot be read ({error.strerror or error}); choose another directory by -o or EMBEDGE_HOME"
        ) from error
    if not is_free:
        raise BundleError(f"{destination} is there and is no bundle; delete it, or give -o a new or empty directory")
    return None


@contextlib.contextmanager
def lock_destination(destination: Path) -> Iterator[None]:
    """One process at a time makes what goes to a destination; says so when it has to wait.

    What a killed one left is removed. The lock is a file beside the destination, which goes when the block ends.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    lock = HeldFile(destination.parent / f".{destination.name}.lock", "lock")
    try:
        if not lock.take():
            log_step(f"{'waiting':<11}for another process that makes {destination}")
            while not lock.take():
                time.sleep(_PAUSE)
        if not lock.is_locked:
            log_step(f"{'warning':<11}no locks where {destination} is: let no other process write there now")
        _clear(destination)
        yield
    finally:
        if not lock.is_held:  # an interrupt came as it was made, or while another process had it
            with contextlib.suppress(OSError):
                lock.take()
        lock.remove()


def _work(destination: Path) -> Path:
    return destination.parent / f".{destination.name}.partial"


def _clear(destination: Path) -> None:
    """Remove the folder of a build. What that had moved aside goes back, if it ended before its own took the place."""
    work = _work(destination)
    before = work / _BEFORE
    if before.exists() and not os.path.lexists(destination):
        before.rename(destination)
    if work.exists():
        if work.is_symlink() or not work.is_dir():
            work.unlink()
        else:
            shutil.rmtree(work)


@contextlib.contextmanager
def writing(destination: Path) -> Iterator[None]:
    """Raises BundleError where the system does not let the block write."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(
            f"{destination} cannot be written ({reason}); make room, or choose another directory by -o or EMBEDGE_HOME"
        ) from error


@contextlib.contextmanager
def staging(destination: Path, *, keep: Bundle | None, drop: Bundle | None) -> Iterator[tuple[Path, Path]]:
    """A folder to build a bundle in, and one for scratch; the first replaces the destination when the block ends well.

    Whenever the process is killed, the destination is what it was before, or the new bundle whole. A folder left behind
    by a killed export is removed by the next one that takes the destination's lock.

    Args:
        destination: of the bundle; absent, empty, or a bundle. The caller has locked it.
        keep: the bundle there, if its files are to go on; they are linked, not copied, where the file system can.
        drop: the bundle there, if its own files are to go; what else is in the directory goes on.
    """
    work = _work(destination)
    folder, scratch = work / "bundle", work / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    try:
        before = keep or drop
        if before is not None:
            gone = {before.path / name for name in (*drop.manifest.files, MANIFEST)} if drop else set()
            _link_tree(before.path, folder, {*gone, before.path / COMMIT})  # what is built now is not that commit
        yield folder, scratch
        _sync(folder)
        _put(folder, destination)
    finally:
        with contextlib.suppress(OSError):
            _clear(destination)


def _link_tree(source: Path, target: Path, leave_out: set[Path]) -> None:
    for path in source.rglob("*"):
        if not leave_out.isdisjoint((path, *path.parents)):
            continue
        if path.name.startswith((f".{COMMIT}.partial", f"{COMMIT}.partial")):
            continue  # of a process that was killed
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            copy.symlink_to(path.readlink())
            continue
        if path.is_dir():
            copy.mkdir(exist_ok=True)
            continue
        link(path, copy)


def _sync(folder: Path) -> None:
    """Everything in the folder onto the disk, so that a power cut after the swap finds it whole."""
    for path in (*folder.rglob("*"), folder):
        regular = path.is_file() and not path.is_symlink()
        if not regular and (os.name == "nt" or not path.is_dir()):
            continue  # Windows cannot open a directory; a pipe would wait for ever
        handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _put(folder: Path, destination: Path) -> None:
    """The built folder to its destination, in one step."""
    try:
        if not destination.exists():
            folder.rename(destination)
        elif not exchange(folder, destination):
            _swap_in_two(folder, destination)
    except OSError as error:
        raise BundleError(
            f"{destination} cannot be replaced ({error.strerror or error}); close what uses it"
        ) from error


def _swap_in_two(folder: Path, destination: Path) -> None:
    """Where the system cannot exchange directories: killed between the two renames, the next to come puts it back."""
    before = folder.parent / _BEFORE
    destination.rename(before)
    folder.rename(destination)  # where this fails, ``staging`` puts back what was there
