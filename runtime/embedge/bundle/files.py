"""Files of a bundle that is being built."""

import os
import shutil
from pathlib import Path

from embedge.bundle.paths import size_of


def link(path: Path, copy: Path) -> None:
    """The file at another place, too: linked, or copied where the file system has no hard links."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, copy)
    except OSError:
        size_of(path)  # a pipe or a device has no end
        shutil.copy2(path, copy)


def fresh(path: Path) -> Path:
    """The path with nothing at it: writing into a linked file would write into the old bundle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path
