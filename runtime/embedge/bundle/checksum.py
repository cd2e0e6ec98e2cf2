"""Checksums of files: CRC-32 finds damage, SHA-256 also finds files that were replaced on purpose.

Each checksum is one call on the memory-mapped file. The call releases Python's global interpreter lock (GIL), so that
other threads can import modules meanwhile.
"""

import mmap
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from embedge.bundle.paths import open_regular

Result = TypeVar("Result")


def crc32(path: Path) -> str:
    """Return a file's CRC-32, as in ZIP and PNG, as 8 hex digits; several times as fast as SHA-256.

    It finds every changed bit, every changed run of up to 32 bits, and of other accidental changes all but one in
    2 ** 32. It does not protect against deliberate changes.

    Raises:
        OSError: the file cannot be read.
    """
    return f"{_of_bytes(path, zlib.crc32):08x}"


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex. Nobody can make another file with the same SHA-256.

    Raises:
        OSError: the file cannot be read.
    """
    import hashlib  # imported here, because it loads OpenSSL, which takes 3 ms of a cold start

    return _of_bytes(path, lambda data: hashlib.sha256(data).hexdigest())


def contains(path: Path, part: bytes) -> bool:
    """Whether a file contains these bytes.

    Raises:
        OSError: the file cannot be read.
    """
    return _of_bytes(path, lambda data: data.find(part) >= 0)


def _of_bytes(path: Path, function: Callable[[bytes | mmap.mmap], Result]) -> Result:
    with open_regular(path) as file:
        if not os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
            return function(b"")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return function(mapped)
