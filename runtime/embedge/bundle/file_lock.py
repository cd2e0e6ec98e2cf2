"""A file that a process holds for as long as it lives: a lock, or what it writes under a temporary name.

One that nobody holds is a killed process's, and may go. Held means locked by ``flock``, or on Windows by
``msvcrt.locking``, which end with the process, however it ends.
"""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import IO, Literal

_FLAGS = os.O_RDWR
for _name in ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"):  # of one system or another
    _FLAGS |= getattr(os, _name, 0)
_MAKING = {"lock": os.O_CREAT, "new": os.O_CREAT | os.O_EXCL, "left": 0}


class HeldFile:
    """A file, held once ``take`` has returned True.

    Args:
        path: of the file.
        kind: a ``lock`` is made where there is none, a ``new`` file must not be there, and one that was ``left`` must.
    """

    def __init__(self, path: Path, kind: Literal["lock", "new", "left"]) -> None:
        self.is_locked = False  # held but not locked: the file system has no locks
        self._path = path
        self._flags = _FLAGS | _MAKING[kind]
        self._handle = -1

    @property
    def is_held(self) -> bool:
        """Whether ``take`` returned True, and neither ``remove`` nor ``close`` was called since."""
        return self._handle >= 0

    def take(self) -> bool:
        """Hold it; False where somebody else does.

        Raises:
            OSError: it cannot be opened.
        """
        try:
            self._handle = os.open(self._path, self._flags, 0o666)
            locked = _lock(self._handle)
            # Who held it may have removed it since it was opened here: then another file is, or will be, the lock.
            if locked is not False and self._is_there():
                self.is_locked = locked is True
                return True
        except BaseException:
            self.close()
            raise
        self.close()
        return False

    def file(self) -> IO[bytes]:
        """To write into while it is held."""
        return os.fdopen(self._handle, "wb", closefd=False)

    def remove(self) -> None:
        """Remove it and let go, as far as it is held."""
        if self._handle >= 0:
            if os.name == "nt":  # which removes no open file: what is taken meanwhile stays
                self.close()
            with contextlib.suppress(OSError):
                self._path.unlink()
        self.close()

    def close(self) -> None:
        """Let go, and leave it there."""
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
        """Whether it is locked now; None where that cannot be."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool | None:
        """Whether it is locked now; None where that cannot be."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return False if error.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK) else None
        return True
