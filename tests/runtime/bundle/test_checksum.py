"""checksum.py: the checksums' published check values, and files that are empty or gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embedge.bundle.checksum import crc32, sha256

# SHA-256: FIPS 180-2, appendix B.1; CRC-32: the check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRCs.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
CASES = [(crc32, b"123456789", "cbf43926"), (crc32, b"", "00000000"), (sha256, b"abc", ABC), (sha256, b"", EMPTY)]


@pytest.mark.parametrize(("function", "data", "expected"), CASES)
def test_known_values(tmp_path: Path, function: Callable[[Path], str], data: bytes, expected: str) -> None:
    (tmp_path / "file").write_bytes(data)
    assert function(tmp_path / "file") == expected


@pytest.mark.parametrize("function", [crc32, sha256])
def test_a_file_that_is_gone(tmp_path: Path, function: Callable[[Path], str]) -> None:
    with pytest.raises(FileNotFoundError):
        function(tmp_path / "file")
