"""File operations for a bundle that is being built, whose files may be hard links into the bundle it replaces."""

import os
import shutil
from pathlib import Path

from embedge.bundle.paths import size_of


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``, or a copy if the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        size_of(source)  # raises for a pipe or a device, which have no end
        shutil.copy2(source, target)


def delete_existing(path: Path) -> Path:
    """Delete the file at a path, and return the path; its folder is made.

    Writing into a file that is a hard link would change the old bundle, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path
