"""The bundle: the directory that the runtime loads, and what is checked of its files.

A bundle is also a valid sentence-transformers repository, so its other files keep the names that the Hugging Face
ecosystem gives them.
"""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

from embedge.bundle.checksum import contains, crc32, sha256
from embedge.bundle.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    PRECISIONS,
    TOKENIZER,
    WEIGHTS_SUFFIX,
    Manifest,
    Precision,
)
from embedge.bundle.paths import expand, is_file, read_regular, size_of
from embedge.bundle.remedy import export_command, mend
from embedge.errors import BundleCorruptError, BundleError, BundleNotFoundError, PrecisionNotFoundError


def _check_is_bundle(folder: Path) -> None:
    """Raises BundleNotFoundError, with what is there instead, where a directory holds no manifest."""
    if not folder.is_dir():
        raise BundleNotFoundError(f"no bundle at {folder}: no such directory; `embedge models` lists known models")
    if (folder / MANIFEST).exists():
        return
    if is_file(folder / "config.json"):
        raise BundleNotFoundError(
            f"{folder} holds a checkpoint, not a bundle (no {MANIFEST}); "
            f"`embedge export {shlex.quote(str(folder))} -o BUNDLE` makes one of it"
        )
    raise BundleNotFoundError(f"no bundle at {folder}: no {MANIFEST} there; `embedge export MODEL` makes one")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk: its directory and its manifest.

    Attributes:
        path: the directory.
        manifest: what it says of itself.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """The bundle in a directory. Reads only the manifest; ``check`` reads the rest.

        Raises:
            BundleNotFoundError: there is no such directory, or no manifest in it.
            BundleError: the manifest cannot be used.
        """
        folder = expand(path, what="a bundle's path", error=BundleNotFoundError)
        return cls(folder, Manifest.from_json(cls.read_manifest(folder), where=str(folder / MANIFEST)))

    @staticmethod
    def read_manifest(folder: Path) -> str:
        """The JSON text of the manifest in a directory.

        Raises:
            BundleNotFoundError: there is no such directory, or no manifest in it.
            BundleError: it cannot be read, is no regular file, too large or not UTF-8.
        """
        try:
            _check_is_bundle(folder)
            return read_regular(folder / MANIFEST, LARGEST_MANIFEST).decode()
        except OSError as error:
            place = folder / MANIFEST if error.filename == str(folder / MANIFEST) else folder
            reason = error.strerror or error
            raise BundleError(f"{place} cannot be read ({reason}); give the path of a bundle that can") from error
        except UnicodeDecodeError as error:
            raise BundleError(f"{folder / MANIFEST} is not UTF-8 ({error.reason}); get the bundle again") from error

    def pick_precision(self, precision: str | None, *, preferred: Iterable[Precision] = PRECISIONS) -> Precision:
        """The precision asked for, or where it is None the first of ``preferred`` that the bundle holds.

        Raises:
            PrecisionNotFoundError: the bundle does not hold it; the message has the command that adds it.
        """
        held = self.manifest.precisions
        for name in preferred if precision is None else (precision,):
            if name in held and name in PRECISIONS:
                return name
        if precision is not None and precision not in PRECISIONS:
            raise PrecisionNotFoundError(f"precision must be one of {', '.join(PRECISIONS)}, found {precision!r}")
        raise PrecisionNotFoundError(
            f"{self.path} holds {', '.join(sorted(held)) or 'no precision'}, not {precision or 'a known one'}; "
            f"`{export_command(self.manifest, precision or 'int8', output=self.path)}` adds it"
        )

    def graph(self, precision: Precision) -> Path:
        """Path of the graph of a precision that the bundle holds."""
        return self.path / self.manifest.precisions[precision].file

    def graph_files(self, precision: str) -> tuple[str, ...]:
        """Names of a precision's files: the graph's, and that of its weights where they are apart.

        Weights that are there and not recorded count: ONNX Runtime would map them, and ``check`` refuses them.
        """
        graph = self.manifest.precisions[precision].file
        weights = graph + WEIGHTS_SUFFIX
        return (graph, weights) if weights in self.manifest.files or os.path.lexists(self.path / weights) else (graph,)

    def check(self, names: Iterable[str] | None = None, *, only_damage: bool = False) -> None:
        """Compare files to the manifest's sizes and checksums; all of them where ``names`` is None.

        One flipped bit in a graph loads without complaint and changes the vectors, so every load checks what it uses.

        Args:
            names: of the files.
            only_damage: compare the CRC-32 alone where the manifest has it, not the SHA-256: much sooner done, and as
                good but against intent.

        Raises:
            BundleCorruptError: a file is missing, unreadable, or not what was exported.
        """
        if found := self._find_fault(names, only_damage=only_damage):
            name, fault = found
            raise BundleCorruptError(f"{fault}; {self._mend(name)}")

    def check_sizes(self, names: Iterable[str]) -> None:
        """Compare files' sizes alone, and that they are files: what is done before anything else opens them.

        Raises:
            BundleCorruptError: a file is missing, is none, such as a pipe that would be waited for, or of another size.
        """
        for name in names:
            if fault := self._fault_of_size(name):
                raise BundleCorruptError(f"{fault}; {self._mend(name)}")

    def find_fault(self, names: Iterable[str] | None = None) -> str | None:
        """What ``check`` finds first, without what to do about it; None where nothing."""
        found = self._find_fault(names, only_damage=False)
        return found[1] if found else None

    def is_whole(self, names: Iterable[str] | None = None) -> bool:
        """Whether ``check`` finds nothing."""
        return self.find_fault(names) is None

    def _find_fault(self, names: Iterable[str] | None, *, only_damage: bool) -> tuple[str, str] | None:
        """The name of a file and what is wrong with it."""
        graphs = [record.file for record in self.manifest.precisions.values()]
        for name in dict.fromkeys((*self.manifest.files, TOKENIZER, *graphs)) if names is None else names:
            if fault := self._fault_of_size(name) or self._fault_of_content(name, only_damage=only_damage):
                return name, fault
        for graph in graphs if names is None else ():
            if fault := self._fault_of_weights(graph):
                return graph, fault
        return None

    def _mend(self, name: str) -> str:
        """What to do about a damaged file."""
        held = list(self.manifest.precisions)
        precision = next((one for one in held if name in self.graph_files(one)), held[0])
        return mend(self.manifest, precision, self.path)

    def _fault_of_size(self, name: str) -> str | None:
        path, record = self.path / name, self.manifest.files.get(name)
        if record is None:
            return f"{self.path / MANIFEST} uses {name} but records no hash of it"
        try:
            size = size_of(path)
        except OSError as error:
            return _unreadable(path, error)
        return None if size == record.size else f"{path} has {size} bytes, not the {record.size} that were exported"

    def _fault_of_content(self, name: str, *, only_damage: bool) -> str | None:
        path, record = self.path / name, self.manifest.files[name]
        pairs = []  # of what is found, and what is recorded
        try:
            if record.crc32 is not None:
                pairs.append(("CRC-32", crc32(path), record.crc32))
            if not (pairs and only_damage):
                pairs.append(("SHA-256", sha256(path), record.sha256))
        except OSError as error:
            return _unreadable(path, error)
        for kind, found, expected in pairs:
            if found != expected:
                return f"{path} has changed since it was exported ({kind} {found[:12]}, not {expected[:12]})"
        return None

    def _fault_of_weights(self, graph: str) -> str | None:
        """A graph that says where its weights are names their file, as ONNX's external data do."""
        path, weights = self.path / graph, graph + WEIGHTS_SUFFIX
        try:
            if weights in self.manifest.files or not contains(path, weights.rpartition("/")[2].encode()):
                return None
        except OSError as error:
            return _unreadable(path, error)
        return f"{path} needs {weights}, which {self.path / MANIFEST} does not record"


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path} cannot be read ({error.strerror or error})"
