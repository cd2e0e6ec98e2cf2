"""Replaces a file in one atomic step."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from embedge.bundle.file_lock import LockedFile

_LONGEST_PREFIX = 200  # bytes of a file's name in its temporary file's name; file systems allow 255


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file, which replaces ``path`` when the block ends, and is deleted if the block raises.

    Temporary files of ``path`` that killed processes left behind are deleted first.

    Raises:
        OSError: the file cannot be created, written or renamed.
    """
    prefix = f".{path.name.encode(errors='surrogateescape')[:_LONGEST_PREFIX].decode(errors='ignore')}.partial-"
    _delete_leftovers(path.parent, prefix)
    # The name is set before the file is created, so that a signal in between leaves nothing behind.
    temporary = path.with_name(f"{prefix}{os.urandom(4).hex()}")
    lock = LockedFile(temporary, "new")
    try:
        while not lock.acquire():  # another process deleted the file before it was locked
            temporary = path.with_name(f"{prefix}{os.urandom(4).hex()}")
            lock = LockedFile(temporary, "new")
        with lock.file() as file:
            yield file
            file.flush()
            if os.name != "nt" and path.exists():  # the new file gets the permissions of the old one
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            os.fsync(file.fileno())
        if os.name == "nt":  # Windows cannot rename an open file
            lock.close()
        temporary.replace(path)
    finally:
        if os.name == "nt":  # Windows cannot delete an open file either
            lock.close()
        temporary.unlink(missing_ok=True)
        lock.close()


def _delete_leftovers(folder: Path, prefix: str) -> None:
    """Delete the files with such names that no process has locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # a folder may be writable and not readable
        for entry in entries:
            if entry.name.startswith(prefix):
                leftover = LockedFile(folder / entry.name, "leftover")
                with contextlib.suppress(OSError):
                    if leftover.acquire() and leftover.is_locked:
                        leftover.remove()
                leftover.close()
