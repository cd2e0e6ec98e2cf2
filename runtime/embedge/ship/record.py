"""The record that `embedge ship` leaves in its output, by which it recognises an output of its own."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from embedge.errors import EmbedgeError
from embedge.ship.places import PLACES

RECORD = "embedge-ship.json"
_LARGEST = 100_000  # bytes
_ADVICE = "delete it, or pass another -o"
# Users put their own modules into these folders, too; Python puts bytecode beside the modules that it imports.
_FOLDERS = tuple(place.packages for place in PLACES.values() if place.packages)
_BYTECODE = "__pycache__"


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
        entries: the paths in the output's top folder and in its folder of packages, without the record.
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

    It replaces an empty folder, and an earlier output to which nobody has added a file at the top or in the folder of
    packages, and of which nobody has changed one of the texts.
    """
    try:
        if not os.path.lexists(output):
            return
        fault = _fault_of_zip(output) if output.suffix.lower() == ".zip" else _fault_of_folder(output)
    except (OSError, zipfile.BadZipFile) as error:
        raise EmbedgeError(f"{output} exists and cannot be read ({error}); {_ADVICE}") from error
    if fault:
        raise EmbedgeError(f"{output} {fault}; {_ADVICE}")


def _fault_of_folder(output: Path) -> str | None:
    if output.is_symlink() or not output.is_dir():
        return "exists and is not a folder"
    names = list_entries(output)
    if not names:
        return None
    if not (output / RECORD).is_file():
        return _fault([], lambda name: b"")
    return _fault(names, lambda name: (output / name).read_bytes())


def _fault_of_zip(output: Path) -> str | None:
    if output.is_symlink() or not output.is_file():
        return "exists and is not a file"
    with zipfile.ZipFile(output) as archive:
        split = [name.split("/") for name in archive.namelist()]
        names = {parts[0] for parts in split} | {"/".join(parts[:2]) for parts in split if parts[0] in _FOLDERS}
        return _fault(sorted(names), archive.read)


def list_entries(folder: Path) -> list[str]:
    """Return the paths in the top folder of an output and in its folder of packages, sorted."""
    patterns = ("*", *(f"{name}/*" for name in _FOLDERS))
    return sorted(path.relative_to(folder).as_posix() for pattern in patterns for path in folder.glob(pattern))


def _fault(names: list[str], read: Callable[[str], bytes]) -> str | None:
    """Why an output with these entries must stay; None if it may be replaced."""
    if RECORD not in names:
        return "exists and `embedge ship` did not make it"
    try:
        record = json.loads(read(RECORD)[:_LARGEST])
        entries, texts = {RECORD, *record["entries"]}, dict(record["texts"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"exists and its {RECORD} cannot be read"
    if added := sorted(name for name in set(names) - entries if name.rpartition("/")[2] != _BYTECODE):
        return f"holds {added[0]}, which `embedge ship` did not put there"
    for name, digest in texts.items():
        try:
            changed = sha256(read(name)) != digest
        except (KeyError, FileNotFoundError):  # a text that was deleted is no loss
            continue
        if changed:
            return f"holds {name}, which was changed since `embedge ship` wrote it"
    return None
