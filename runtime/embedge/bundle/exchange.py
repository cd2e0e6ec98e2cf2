"""Exchanges two directories in one atomic step, where the system can."""

import ctypes
import errno
import os
import sys
from pathlib import Path


def exchange(first: Path, second: Path) -> bool:
    """Exchange two directories atomically; return False if the system or the file system cannot.

    Linux: ``renameat2`` with RENAME_EXCHANGE (2); macOS: ``renamex_np`` with RENAME_SWAP (2). Source: their man pages.
    """
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(first), os.fsencode(second)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        at_cwd = -100
        failed = library.renameat2(at_cwd, names[0], at_cwd, names[1], 2)
    elif sys.platform == "darwin":
        failed = library.renamex_np(*names, 2)
    else:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))
