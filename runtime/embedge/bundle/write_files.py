"""Writes a bundle's files into a new folder, from the hub or from a disk: all, or only those of some precisions.

Every file is hashed while it is written, and read back at the end.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.files import delete_existing
from embedge.bundle.json_checksum import CRC32, parse, seal
from embedge.bundle.manifest import MANIFEST, TOKENIZER, WEIGHTS_SUFFIX, Manifest
from embedge.bundle.paths import open_regular
from embedge.bundle.staging import write_manifest
from embedge.errors import BundleCorruptError
from embedge.progress import progress

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK = 1 << 20  # bytes
ReadFile = Callable[[str], Iterable[bytes]]  # a file's name -> its content, in blocks


def select_precisions(text: str, precisions: Sequence[str]) -> str:
    """Return a manifest's JSON with only these precisions and their files, and with its checksum.

    So the smaller bundle is complete: it has every file that its manifest names, and all of them can be checked. A file
    that a remaining precision shares with a removed one stays. Members that later versions of embedge added stay, too.
    A text that has a checksum and keeps all its precisions is returned unchanged.
    """
    data = parse(text)
    dropped = [data["precisions"].pop(name) for name in list(data["precisions"]) if name not in precisions]
    if not dropped and CRC32 in data:
        return text
    needed = {TOKENIZER, *(name for record in data["precisions"].values() for name in _files_of(record))}
    for name in {name for record in dropped for name in _files_of(record)} - needed:
        data["files"].pop(name, None)
    return seal(data)


def _files_of(record: Mapping[str, str | None]) -> set[str]:
    graph = str(record["file"])
    return {graph, graph + WEIGHTS_SUFFIX, record.get("fused") or graph}


def write_bundle(text: str, read: ReadFile, folder: Path, *, where: str) -> Manifest:
    """Write every file of a manifest into a folder, then the manifest, then read all of it back and compare it.

    Args:
        text: the manifest's JSON, from ``select_precisions``.
        read: reads a file of the source.
        folder: where to write; its files are replaced.
        where: names the source in errors.

    Raises:
        BundleCorruptError: a file differs from the manifest, or the manifest does not name a file that it uses.
    """
    manifest = Manifest.from_json(text, where=f"{MANIFEST} of {where}")
    for name in (TOKENIZER, *manifest.graphs):
        if name not in manifest.files:
            raise BundleCorruptError(
                f"{MANIFEST} of {where} uses {name} but has no hash of it; download or export another bundle"
            )
    with progress(manifest.size, None, unit="B") as advance:
        for name, record in manifest.files.items():
            write_checked(
                with_progress(read(name), advance),
                delete_existing(folder / name),  # a file that the old manifest did not name may be there
                what=f"{name} of {where}",
                size=record.size,
                digest=hashlib.sha256(),
                expected=record.sha256,
            )
    if fault := write_manifest(folder, text).find_fault():
        raise BundleCorruptError(f"the copy of {where} is damaged: {fault}; download or copy it again, or use another")
    return manifest


def with_progress(blocks: Iterable[bytes], advance: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the blocks, and call ``advance`` with the size of each."""
    for block in blocks:
        yield block
        advance(len(block))


def write_checked(
    blocks: Iterable[bytes],
    path: Path,
    *,
    what: str,
    size: int | None,
    digest: "_Hash",
    expected: str | None,
) -> None:
    """Write blocks into a new file, and check their size and hash.

    Args:
        blocks: the file's content.
        path: the new file; its folder is made.
        what: names the file in errors.
        size: the expected size in bytes; None accepts any.
        digest: a new hash object.
        expected: the expected hash in hex; None accepts any.

    Raises:
        BundleCorruptError: the size or the hash differs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with path.open("xb") as file:
        for block in blocks:
            written += len(block)
            if size is not None and written > size:
                break  # the rest could be endless
            digest.update(block)
            file.write(block)
    check_content(what=what, written=written, size=size, digest=digest, expected=expected)


def check_content(*, what: str, written: int, size: int | None, digest: "_Hash", expected: str | None) -> None:
    """Compare a file's size and hash with the expected ones; arguments and errors are those of ``write_checked``.

    ``written`` is its size in bytes.
    """
    if size not in (None, written):
        raise BundleCorruptError(
            f"{what} has {written} bytes or more, not the expected {size}; download or copy it again"
        )
    if expected not in (None, digest.hexdigest()):
        kind = digest.name.upper().replace("SHA", "SHA-")
        raise BundleCorruptError(
            f"{what} is damaged or was changed ({kind} {digest.hexdigest()[:12]}, not {str(expected)[:12]}); "
            "download or copy it again"
        )


def local_blocks(path: Path) -> Iterator[bytes]:
    """Yield a local file's content in blocks.

    Raises:
        BundleCorruptError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise BundleCorruptError(
            f"{path} cannot be read ({error.strerror or error}); download or copy the bundle again"
        ) from error
