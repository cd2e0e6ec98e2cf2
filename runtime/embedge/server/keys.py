"""API keys: read from a file, and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from embedge.errors import InputValueError


class Keys:
    """The keys of a server; without any, every request may pass.

    Args:
        keys: the keys, any of which opens.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        # Digests have one length, so a comparison does not tell how long a key is.
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accept(self, header: bytes) -> bool:
        """Whether the value of a header ``Authorization`` has one of the keys; compares with all of them."""
        scheme, _, key = header.strip().partition(b" ")
        given = _digest(key.strip())
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


def read_keys(path: Path) -> Keys:
    """Return the keys of a file: one in each line, without blanks around it; empty lines do not count.

    Raises:
        InputValueError: there is none, or one has characters that a header cannot have.
    """
    try:
        keys = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputValueError(f"{path} is not UTF-8; write one key in each line") from error
    if not keys:
        raise InputValueError(f"{path} has no key; write one in each line")
    for number, key in enumerate(keys, 1):
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise InputValueError(f"key {number} of {path} has a blank, or is not ASCII; write another key")
    return Keys(keys)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
