"""What makes a checkpoint another one: a hash over all its files that an export reads."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Hashes:
    """SHA-256 of a checkpoint, in hex.

    Attributes:
        now: over name, size and content of every file that is read.
        before: by the formula of embedge 0.1.0's first bundles: over the content of weights, config, tokenizer and
            pooling alone.
    """

    now: str
    before: str


def hash_files(root: Path, *, always: Sequence[Path], since: Sequence[Path]) -> Hashes:
    """The hashes of a checkpoint, each file being read once; those that are not there are left out.

    Args:
        root: the checkpoint's directory, to which names are relative.
        always: the files that both formulas cover, in this order.
        since: those that the first formula left out.
    """
    now, before = hashlib.sha256(), hashlib.sha256()
    for file in filter(Path.is_file, (*always, *since)):
        name = file.relative_to(root).as_posix()
        now.update(f"{len(name)} {name} {file.stat().st_size}\n".encode(errors="surrogateescape"))
        for block in _blocks(file):
            now.update(block)
            if file in always:
                before.update(block)
    return Hashes(now.hexdigest(), before.hexdigest())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block
