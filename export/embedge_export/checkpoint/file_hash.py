"""The hash of a checkpoint: over every file that an export reads, so that any change to one is noticed."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Hashes:
    """SHA-256 of a checkpoint, in hex, by two formulas.

    Attributes:
        current: over the name, size and content of every file that is read.
        legacy: by the formula of embedge 0.1.0's first bundles: over the content of weights, config, tokenizer and
            pooling alone.
    """

    current: str
    legacy: str


def hash_files(root: Path, *, legacy_files: Sequence[Path], other_files: Sequence[Path]) -> Hashes:
    """Return the hashes of a checkpoint. Each file is read once; a file that does not exist is skipped.

    Args:
        root: the checkpoint's directory; names are relative to it.
        legacy_files: the files that both formulas cover, in this order.
        other_files: the files that only the current formula covers.
    """
    current, legacy = hashlib.sha256(), hashlib.sha256()
    for file in filter(Path.is_file, (*legacy_files, *other_files)):
        name = file.relative_to(root).as_posix()
        current.update(f"{len(name)} {name} {file.stat().st_size}\n".encode(errors="surrogateescape"))
        for block in _blocks(file):
            current.update(block)
            if file in legacy_files:
                legacy.update(block)
    return Hashes(current.hexdigest(), legacy.hexdigest())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block
