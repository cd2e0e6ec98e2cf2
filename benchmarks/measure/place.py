"""What is measured of one place where embedge runs, and the sizes of its files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure.process_start import Run


class CannotRunError(Exception):
    """A place cannot be built or started here. The message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that is ready to start.

    Attributes:
        sizes: bytes, by what they are the size of. Empty where the place adds nothing to another one.
        start: starts it once and measures up to the first vector; None where time says nothing.
        memory: the peak resident bytes, where ``start`` does not measure them.
        notes: what a reader must know of the figures.
    """

    sizes: Mapping[str, int]
    start: Callable[[], Run] | None = None
    memory: float | None = None
    notes: tuple[str, ...] = field(default=())


# Makes a place ready. The arguments are a bundle with one precision, and an empty folder of its own.
Prepare = Callable[[Path, Path], Place]


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder. A symbolic link counts as one, and is not followed."""
    if not path.is_dir():
        return path.lstat().st_size
    return sum((Path(folder) / name).lstat().st_size for folder, _, names in os.walk(path) for name in names)


def forget_files(folder: Path) -> None:
    """Drop the files of a folder from the disk cache, so that the next start reads them from the disk.

    Linux maps a file in larger pieces if it was written in large pieces just before. A copy of one bundle then took up
    to 18 MB more memory than another: pages that nobody reads.
    """
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # only what is on the disk can be dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain_environment(work: Path, **own: str) -> dict[str, str]:
    """The variables of a process that has none of this one's, but can find programs and a place for its files.

    ``OPENBLAS_NUM_THREADS=1`` is what docs/deploy.md tells users to set.
    """
    temporary = work / "temporary"
    temporary.mkdir(exist_ok=True)
    names = ("PATH", "HOME", "LANG")
    found = {name: os.environ[name] for name in names if name in os.environ}
    return {**found, "TMPDIR": str(temporary), "OPENBLAS_NUM_THREADS": "1", **own}
