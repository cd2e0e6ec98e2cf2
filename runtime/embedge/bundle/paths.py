"""The border to the file system: paths as people give them, and files, read only where they are regular ones.

``pathlib`` answers a bad path by RuntimeError, ValueError, TypeError or OSError, by its kind and Python's version.
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
    """A path that the system can be asked about, ``~`` and ``~name`` expanded.

    Args:
        path: as it was given.
        what: names it in errors.
        error: what is raised.

    Raises:
        InputTypeError: it is neither a string nor a path.
        EmbedgeError: that error, where no file system has such a path, or nobody knows the home folder that it names.
    """
    if not isinstance(path, str | PathLike) or not isinstance(os.fspath(path), str):
        raise InputTypeError(f"{what} must be a string or a path, found {type(path).__name__}")
    text = os.fspath(path)
    try:
        if "\0" in text:
            raise ValueError("a NUL in it")
        os.fsencode(text)
        return Path(text).expanduser()
    except UnicodeEncodeError:
        reason = "a lone surrogate in it"
    except (ValueError, RuntimeError) as failure:
        reason = str(failure).rstrip(".")
    raise error(f"{what} cannot be {text!r} ({reason}); give another path, such as an absolute one")


def resolve_links(path: Path, *, what: str, error: type[EmbedgeError] = BundleError) -> Path:
    """The path without links, from the root; what is not there yet may be its end.

    Raises:
        EmbedgeError: that error, where links go in a circle, or the current directory is gone.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as failure:  # the second for a circle, before Python 3.13
        reason = _reason(failure) if isinstance(failure, OSError) else "links go in a circle"
        raise error(
            f"{what} {path} cannot be followed ({reason}); give another path, such as an absolute one"
        ) from failure


def is_file(path: Path) -> bool:
    """Whether a regular file is there that can be asked about, or a link to one."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or a folder that may not be searched
        return False


def is_dir(path: Path) -> bool:
    """Whether a directory is there that can be asked about, or a link to one."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def size_of(path: Path) -> int:
    """Bytes of a regular file.

    Raises:
        OSError: it cannot be reached, or is something else, such as a pipe, which would be waited for.
    """
    return _check_regular(path.stat(), path)


def open_regular(path: Path) -> IO[bytes]:
    """A regular file to be read from its beginning; nothing else is opened, and nothing is waited for.

    Raises:
        OSError: it cannot be opened, or is something else, such as a pipe or a device, or a link to one.
    """
    size_of(path)  # first, since opening alone may set a device off
    # What has taken its place meanwhile is not waited for either.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        _check_regular(os.fstat(handle), path)
        return io.BufferedReader(_Waitless(handle, "rb"))
    except BaseException:
        os.close(handle)
        raise


class _Waitless(io.FileIO):
    """A file of which reading is an error where it would wait, as of some in /proc; to Python that is no bytes."""

    def readinto(self, buffer: Any) -> int:
        """As ``FileIO``'s; raises BlockingIOError."""
        found = super().readinto(buffer)
        if found is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return found

    def readall(self) -> bytes:
        """As ``FileIO``'s; raises BlockingIOError."""
        found: bytes | None = super().readall()
        if found is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return found


def read_regular(path: Path, most: int) -> bytes:
    """A regular file's content.

    Raises:
        OSError: as ``open_regular``, or it is larger than so many bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(0, f"it has over {most} bytes", str(path))
    return data


def _check_regular(found: os.stat_result, path: Path) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "none")
        raise OSError(0, f"it is {kind}, not a regular file", str(path))
    return found.st_size


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
