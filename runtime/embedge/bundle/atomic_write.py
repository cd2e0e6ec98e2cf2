"""A new file that replaces another in one step."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from embedge.bundle.file_lock import HeldFile

_LONGEST = 200  # bytes of a name that become part of another's; file systems stop at 255


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of ``path``, whole, when the block ends well, and else is removed.

    What killed processes left of the same file is removed first.

    Raises:
        OSError: it cannot be made, written or put there.
    """
    start = f".{path.name.encode(errors='surrogateescape')[:_LONGEST].decode(errors='ignore')}.partial-"
    _sweep(path.parent, start)
    # Named before it is made: a signal that comes as soon as it is there finds it to be removed.
    temporary = path.with_name(f"{start}{os.urandom(4).hex()}")
    held = HeldFile(temporary, "new")
    try:
        while not held.take():  # another process swept it away before it was locked
            temporary = path.with_name(f"{start}{os.urandom(4).hex()}")
            held = HeldFile(temporary, "new")
        with held.file() as file:
            yield file
            file.flush()
            if os.name != "nt" and path.exists():  # who may read the file that is there may read the new one
                os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            os.fsync(file.fileno())
        if os.name == "nt":  # which renames no open file
            held.close()
        temporary.replace(path)
    finally:
        if os.name == "nt":  # nor removes one
            held.close()
        temporary.unlink(missing_ok=True)
        held.close()


def _sweep(folder: Path, start: str) -> None:
    """Remove the files with such names that nobody holds."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # one that may not be listed can be written to
        for entry in entries:
            if entry.name.startswith(start):
                left = HeldFile(folder / entry.name, "left")
                with contextlib.suppress(OSError):
                    if left.take() and left.is_locked:
                        left.remove()
                left.close()
