"""Checked access to the file system: paths as users give them, and regular files.

For a bad path ``pathlib`` raises RuntimeError, ValueError, TypeError or OSError, depending on the path and on Python's
version. Here it is always one of embedge's errors.
"""

import errno
import io
import os
import stat
from os import PathLike
from pathlib import Path
from typing import IO, Any

from embedge.errors import BundleError, EmbedgeError, InputTypeError

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def expand(path: str | PathLike[str], *, what: str, error: type[EmbedgeError] = BundleError) -> Path:
    """Check a path and expand ``~`` and ``~name``.

    Args:
        path: the path as the user gave it.
        what: what error messages call the path.
        error: the class of the error to raise.

    Raises:
        InputTypeError: it is neither a string nor a path.
        EmbedgeError: of the class ``error``: the path is not valid, or the home folder that it names is unknown.
    """
    if not isinstance(path, str | PathLike) or not isinstance(os.fspath(path), str):
        raise InputTypeError(f"{what} must be a string or a path, found {type(path).__name__}")
    text = os.fspath(path)
    try:
        if "\0" in text:
            raise ValueError("it has a NUL character")
        os.fsencode(text)
        return Path(text).expanduser()
    except UnicodeEncodeError:
        reason = "it has a lone surrogate"
    except (ValueError, RuntimeError) as failure:
        reason = str(failure).rstrip(".")
    raise error(f"{what} cannot be {text!r} ({reason}); pass another path, such as an absolute one")


def resolve_links(path: Path, *, what: str, error: type[EmbedgeError] = BundleError) -> Path:
    """Return the absolute path without symbolic links; its last parts need not exist.

    Raises:
        EmbedgeError: of the class ``error``: links form a circle, or the current directory was deleted.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as failure:  # RuntimeError: a circle, before Python 3.13
        reason = _reason(failure) if isinstance(failure, OSError) else "symbolic links form a circle"
        raise error(
            f"{what} {path} cannot be resolved ({reason}); pass another path, such as an absolute one"
        ) from failure


def is_file(path: Path) -> bool:
    """Whether a path is a regular file, or a link to one; False if the system cannot tell."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # the name is too long, or a folder may not be searched
        return False


def is_dir(path: Path) -> bool:
    """Whether a path is a directory, or a link to one; False if the system cannot tell."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def size_of(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        OSError: the file cannot be reached, or is something else, such as a pipe, which would block its reader.
    """
    return _check_regular(path.stat(), path)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading; never opens anything else, and never blocks.

    Raises:
        OSError: the file cannot be opened, or is something else, such as a pipe or a device, or a link to one.
    """
    size_of(path)  # checks before the file is opened: opening a device can start it
    # A pipe that replaces the file after the check does not block either.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        _check_regular(os.fstat(handle), path)
        return io.BufferedReader(_NonBlockingFile(handle, "rb"))
    except BaseException:
        os.close(handle)
        raise


class _NonBlockingFile(io.FileIO):
    """A file that raises an error if reading would block, as in some files of /proc; ``FileIO`` returns no bytes."""

    def readinto(self, buffer: Any) -> int:
        """As ``FileIO``'s; raises BlockingIOError."""
        count = super().readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return count

    def readall(self) -> bytes:
        """As ``FileIO``'s; raises BlockingIOError."""
        data: bytes | None = super().readall()
        if data is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return data


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes.

    Raises:
        OSError: as ``open_regular``, or the file is larger.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(0, f"it has more than {most} bytes", str(path))
    return data


def _check_regular(status: os.stat_result, path: Path) -> int:
    """Return the size of a regular file; raise OSError for anything else."""
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "of an unknown kind")
        raise OSError(0, f"it is {kind}, not a regular file", str(path))
    return status.st_size


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
