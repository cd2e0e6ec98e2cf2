"""The record that `embedge ship` leaves in its output, by which it recognises an output of its own."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from embedge.errors import EmbedgeError

RECORD = "embedge-ship.json"
_LARGEST = 100_000  # bytes
_ADVICE = "delete it, or pass another -o"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What an output consists of.

    Attributes:
        embedge: the version that made it.
        place: a name of ``PLACES``.
        platform: a name of ``PLATFORMS``.
        python: the minor version, such as ``3.13``.
        model: the model's name in the manifest.
        precision: of the graph.
        packages: the versions of the packages, by name.
        bytecode: whether the modules are compiled.
        entries: the names in the output's top folder, without the record.
        texts: the SHA-256 of each file that is neither a package's nor the bundle's, by its path.
    """

    embedge: str
    place: str
    platform: str
    python: str
    model: str
    precision: str
    packages: Mapping[str, str]
    bytecode: bool
    entries: tuple[str, ...]
    texts: Mapping[str, str]

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"


def sha256(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def check_free(output: Path) -> None:
    """Raise EmbedgeError if something is at an output's path that the command must not replace.

    It replaces an empty folder, and an earlier output to which nobody has added a file at the top, and of which nobody
    has changed one of the texts.
    """
    try:
        if not os.path.lexists(output) or (output.is_dir() and not output.is_symlink() and not any(output.iterdir())):
            return
        fault = _fault_of_zip(output) if output.suffix.lower() == ".zip" else _fault_of_folder(output)
    except (OSError, zipfile.BadZipFile) as error:
        raise EmbedgeError(f"{output} exists and cannot be read ({error}); {_ADVICE}") from error
    if fault:
        raise EmbedgeError(f"{output} {fault}; {_ADVICE}")


def _fault_of_folder(output: Path) -> str | None:
    if output.is_symlink() or not output.is_dir():
        return "exists and is not a folder"
    if not (output / RECORD).is_file():
        return _fault([], lambda name: b"")
    names = [path.name for path in output.iterdir()]
    return _fault(names, lambda name: (output / name).read_bytes())


def _fault_of_zip(output: Path) -> str | None:
    if output.is_symlink() or not output.is_file():
        return "exists and is not a file"
    with zipfile.ZipFile(output) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
        return _fault(sorted(names), archive.read)


def _fault(names: list[str], read: Callable[[str], bytes]) -> str | None:
    """Why an output with these names in its top folder must stay; None if it may be replaced."""
    if RECORD not in names:
        return "exists and `embedge ship` did not make it"
    try:
        record = json.loads(read(RECORD)[:_LARGEST])
        entries, texts = {RECORD, *record["entries"]}, dict(record["texts"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"exists and its {RECORD} cannot be read"
    if added := sorted(set(names) - entries):
        return f"holds {added[0]}, which `embedge ship` did not put there"
    for name, digest in texts.items():
        try:
            changed = sha256(read(name)) != digest
        except (KeyError, FileNotFoundError):  # a text that was deleted is no loss
            continue
        if changed:
            return f"holds {name}, which was changed since `embedge ship` wrote it"
    return None
