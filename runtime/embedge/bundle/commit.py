"""The record of the hub commit that a bundle was downloaded from, a file beside its manifest."""

from pathlib import Path

from embedge.bundle.atomic_write import replacing
from embedge.bundle.paths import read_regular

COMMIT = ".commit"


def read_commit(folder: Path) -> str | None:
    """Return the hub commit that the bundle in a folder was downloaded from; None if there is no usable record."""
    try:
        return read_regular(folder / COMMIT, 1000).decode("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def write_commit(folder: Path, commit: str) -> None:
    """Record the hub commit of the bundle in a folder, atomically."""
    with replacing(folder / COMMIT) as file:
        file.write(f"{commit}\n".encode("ascii"))
