"""The hub commit that a downloaded bundle is of."""

from pathlib import Path

from embedge.bundle.atomic_write import replacing
from embedge.bundle.paths import read_regular

COMMIT = ".commit"


def read_commit(folder: Path) -> str | None:
    """The commit of a hub's repository that the bundle in a folder is; None where it is none, or not that alone."""
    try:
        return read_regular(folder / COMMIT, 1000).decode("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def write_commit(folder: Path, commit: str) -> None:
    """Record of which commit the bundle in a folder is; there whole or not at all."""
    with replacing(folder / COMMIT) as file:
        file.write(f"{commit}\n".encode("ascii"))
