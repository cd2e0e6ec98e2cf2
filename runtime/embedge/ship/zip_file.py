"""Packs a folder into a ZIP file. The same files give the same bytes, so that a function's hash says what changed."""

import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that the format can hold
_MODE = (stat.S_IFREG | 0o644) << 16  # readable by the user that a function runs as; libraries need no more
_UNIX = 3


def write_zip(file: IO[bytes], folder: Path) -> Mapping[str, int]:
    """Write all files of a folder into a ZIP file, and return the size of each in it by its path, headers included.

    It uses deflate at zlib's highest level, which Lambda and every other program unpack.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            info.external_attr, info.create_system = _MODE, _UNIX
            archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED, zlib.Z_BEST_COMPRESSION)
        return {info.filename: info.compress_size + 76 + 2 * len(info.filename) for info in archive.infolist()}
