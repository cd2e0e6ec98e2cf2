"""A bundle's files from where they are to a new folder: hashed on the way, all or only those of some precisions."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.advice import export_command
from embedge.errors import BundleCorruptError, PrecisionNotFoundError, TextValueError
from embedge.manifest import PRECISIONS, WEIGHTS_SUFFIX, Manifest, Precision
from embedge.progress import progress

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK = 1 << 20  # bytes
Source = Callable[[str], Iterable[bytes]]  # the blocks of a file, by its name


def pick_precisions(manifest: Manifest, wanted: Sequence[str] | None, *, where: str) -> tuple[Precision, ...]:
    """The precisions asked for, or for None the one that an Embedder would load: int8 where there is one.

    Raises:
        PrecisionNotFoundError: the bundle at ``where`` does not hold one of them.
        TextValueError: there is no such precision.
    """
    held = tuple(name for name in PRECISIONS if name in manifest.precisions)
    if wanted is None and held:
        return held[:1]
    if unknown := [name for name in wanted or () if name not in PRECISIONS]:
        raise TextValueError(f"precision must be one of {', '.join(PRECISIONS)}, found {unknown[0]!r}")
    if missing := [name for name in wanted or PRECISIONS[:1] if name not in held]:
        raise PrecisionNotFoundError(
            f"{where} holds {', '.join(held) or 'no precision'}, not {missing[0]}; "
            f"`{export_command(manifest, missing[0])}` makes it"
        )
    return tuple(name for name in held if name in (wanted or ()))


def narrow(text: str, precisions: Sequence[str]) -> str:
    """A manifest's JSON without the other precisions and their files; fields that later embedges added stay.

    So the smaller bundle is whole in itself: every file that its manifest names is there, and can be checked.
    """
    data = json.loads(text)
    dropped = {name: record for name, record in data["precisions"].items() if name not in precisions}
    if not dropped:
        return text
    for name, record in dropped.items():
        del data["precisions"][name]
        for file in (record["file"], record["file"] + WEIGHTS_SUFFIX):
            data["files"].pop(file, None)
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def transfer(manifest: Manifest, source: Source, folder: Path, *, where: str) -> None:
    """Every file of a manifest into a folder.

    Args:
        manifest: names the files, their sizes and hashes.
        source: has them.
        where: names the source in errors.
        folder: an empty one.

    Raises:
        BundleCorruptError: a file is not what the manifest says.
    """
    with progress(sum(record.size for record in manifest.files.values()), None, unit="B") as advance:
        for name, record in manifest.files.items():
            write_checked(
                counted(source(name), advance),
                folder / name,
                what=f"{name} of {where}",
                size=record.size,
                digest=hashlib.sha256(),
                expected=record.sha256,
            )


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
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise BundleCorruptError(f"{path} cannot be read ({error.strerror}); get the bundle again") from error
