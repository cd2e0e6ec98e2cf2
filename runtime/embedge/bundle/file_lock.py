"""Files that a process locks while it uses them: lock files, and temporary files that it writes.

A file that no process has locked was left behind by a killed one, and may be deleted. The locks are those of ``flock``,
or on Windows of ``msvcrt.locking``, which the system releases when the process ends, even if it is killed.
"""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import IO, Literal

_FLAGS = os.O_RDWR
for _name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"):  # each exists on some systems only
    _FLAGS |= getattr(os, _name, 0)
_CREATION = {"lock": os.O_CREAT, "new": os.O_CREAT | os.O_EXCL, "leftover": 0}


class LockedFile:
    """A file that belongs to this process once ``acquire`` has returned True.

    Args:
        path: the path of the file.
        kind: a ``lock`` is created if it does not exist; a ``new`` file must not exist; a ``leftover`` must exist.

    Attributes:
        is_locked: whether the file is locked. False for an acquired file on a file system without locks.
    """

    def __init__(self, path: Path, kind: Literal["lock", "new", "leftover"]) -> None:
        self.is_locked = False
        self._path = path
        self._flags = _FLAGS | _CREATION[kind]
        self._handle = -1

    @property
    def is_acquired(self) -> bool:
        """Whether ``acquire`` returned True, and neither ``remove`` nor ``close`` was called since."""
        return self._handle >= 0

    def acquire(self) -> bool:
        """Open and lock the file; return False if another process has locked it.

        Raises:
            OSError: the file cannot be opened.
        """
        try:
            self._handle = os.open(self._path, self._flags, 0o666)
            locked = _lock(self._handle)
            # The last owner may have deleted the file after it was opened here. Then the locked file is no longer at
            # the path.
            if locked is not False and self._is_there():
                self.is_locked = locked is True
                return True
        except BaseException:
            self.close()
            raise
        self.close()
        return False

    def file(self) -> IO[bytes]:
        """Return the file for writing, while it is acquired."""
        return os.fdopen(self._handle, "wb", closefd=False)

    def remove(self) -> None:
        """Delete the file and release it, if it is acquired."""
        if self._handle >= 0:
            if os.name == "nt":  # Windows cannot delete an open file; if another process opens it now, it stays
                self.close()
            with contextlib.suppress(OSError):
                self._path.unlink()
        self.close()

    def close(self) -> None:
        """Release the file without deleting it."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._handle), os.lstat(self._path))
        except FileNotFoundError:
            return False


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool | None:
        """Lock the file; return False if another process has locked it."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool | None:
        """Lock the file; return False if another process has locked it, None if the file system has no locks."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return False if error.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK) else None
        return True
