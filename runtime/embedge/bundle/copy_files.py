"""A bundle's files from where they are to a new folder: hashed on the way, all or only those of some precisions."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.files import fresh
from embedge.bundle.json_checksum import CRC32, parse, seal
from embedge.bundle.manifest import MANIFEST, PRECISIONS, TOKENIZER, WEIGHTS_SUFFIX, Manifest, Precision
from embedge.bundle.paths import open_regular
from embedge.bundle.remedy import export_command
from embedge.bundle.staging import write_manifest
from embedge.errors import BundleCorruptError, InputValueError, PrecisionNotFoundError
from embedge.progress import progress

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK = 1 << 20  # bytes
Source = Callable[[str], Iterable[bytes]]  # the blocks of a file, by its name


def pick_precisions(manifest: Manifest, wanted: Sequence[str] | None, *, where: str) -> tuple[Precision, ...]:
    """The precisions asked for, or for None the one that an Embedder would load: int8 where there is one.

    Raises:
        PrecisionNotFoundError: the bundle at ``where`` does not hold one of them.
        InputValueError: there is no such precision.
    """
    held = tuple(name for name in PRECISIONS if name in manifest.precisions)
    if wanted is None and held:
        return held[:1]
    if unknown := [name for name in wanted or () if name not in PRECISIONS]:
        raise InputValueError(f"precision must be one of {', '.join(PRECISIONS)}, found {unknown[0]!r}")
    if missing := [name for name in wanted or PRECISIONS[:1] if name not in held]:
        raise PrecisionNotFoundError(
            f"{where} holds {', '.join(held) or 'no precision'}, not {missing[0]}; "
            f"`{export_command(manifest, missing[0])}` makes it"
        )
    return tuple(name for name in held if name in (wanted or ()))


def narrow(text: str, precisions: Sequence[str]) -> str:
    """A manifest's JSON without the other precisions and their files; fields that later embedges added stay.

    So the smaller bundle is whole in itself: every file that its manifest names is there, and can be checked. A file
    that one precision has in common with another stays. Text that has its checksum and loses nothing comes back as it
    is.
    """
    data = parse(text)
    dropped = [data["precisions"].pop(name) for name in list(data["precisions"]) if name not in precisions]
    if not dropped and CRC32 in data:
        return text
    needed = {TOKENIZER, *(name for record in data["precisions"].values() for name in _files_of(record))}
    for name in {name for record in dropped for name in _files_of(record)} - needed:
        data["files"].pop(name, None)
    return seal(data)


def _files_of(record: Mapping[str, str]) -> tuple[str, str]:
    return record["file"], record["file"] + WEIGHTS_SUFFIX


def transfer(text: str, source: Source, folder: Path, *, where: str) -> Manifest:
    """Every file of a manifest into a folder, and the manifest; then all of it is read back and compared.

    Args:
        text: the manifest's JSON, as ``narrow`` gives it.
        source: has the files.
        where: names the source in errors.
        folder: an empty one.

    Raises:
        BundleCorruptError: a file is not what the manifest says, or the manifest leaves one out.
    """
    manifest = Manifest.from_json(text, where=f"{MANIFEST} of {where}")
    for name in (TOKENIZER, *(record.file for record in manifest.precisions.values())):
        if name not in manifest.files:
            raise BundleCorruptError(f"{MANIFEST} of {where} uses {name} but records no hash of it; get another bundle")
    with progress(sum(record.size for record in manifest.files.values()), None, unit="B") as advance:
        for name, record in manifest.files.items():
            write_checked(
                counted(source(name), advance),
                fresh(folder / name),  # something that no manifest recorded may be there
                what=f"{name} of {where}",
                size=record.size,
                digest=hashlib.sha256(),
                expected=record.sha256,
            )
    if fault := write_manifest(folder, text).find_fault():
        raise BundleCorruptError(f"what came from {where} is not whole: {fault}; get it again, or another bundle")
    return manifest


def counted(blocks: Iterable[bytes], advance: Callable[[int], object]) -> Iterator[bytes]:
    """The blocks; tells how many bytes went by."""
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
    """Blocks into a new file.

    Args:
        blocks: its content.
        path: of the file; folders are made.
        what: names the file in errors.
        size: how many bytes there must be; None for any number.
        digest: of nothing yet.
        expected: what the digest must be in hex; None for anything.

    Raises:
        BundleCorruptError: size or digest are others.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    got = 0
    with path.open("xb") as file:
        for block in blocks:
            got += len(block)
            if size is not None and got > size:
                break  # however much there is of it
            digest.update(block)
            file.write(block)
    if size not in (None, got):
        raise BundleCorruptError(f"{what} has {got} bytes or more, not the {size} that it should have; get it again")
    if expected not in (None, digest.hexdigest()):
        kind = digest.name.upper().replace("SHA", "SHA-")
        raise BundleCorruptError(
            f"{what} is not what it should be ({kind} {digest.hexdigest()[:12]}, not {str(expected)[:12]}); "
            "get it again"
        )


def local_blocks(path: Path) -> Iterator[bytes]:
    """A local file's bytes.

    Raises:
        BundleCorruptError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise BundleCorruptError(f"{path} cannot be read ({error.strerror or error}); get the bundle again") from error
