"""The bundle: the directory that the runtime loads, and the checks of its files.

A bundle is also a valid sentence-transformers repository. So all its files except the manifest have the names that are
usual on the Hugging Face hub.
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
from embedge.bundle.precision import pick_precision
from embedge.errors import BundleCorruptError, BundleError, BundleNotFoundError


def _check_is_bundle(folder: Path) -> None:
    """Raise BundleNotFoundError if a directory holds no manifest; the message says what it holds instead."""
    if not folder.is_dir():
        raise BundleNotFoundError(
            f"no bundle at {folder}: no such directory; run `embedge models` to list known models"
        )
    if (folder / MANIFEST).exists():
        return
    if is_file(folder / "config.json"):
        raise BundleNotFoundError(
            f"{folder} holds a checkpoint, not a bundle (no {MANIFEST}); "
            f"run `embedge export {shlex.quote(str(folder))} -o BUNDLE` to make one"
        )
    raise BundleNotFoundError(f"no bundle at {folder}: no {MANIFEST} there; run `embedge export MODEL` to make one")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk: its directory and its manifest.

    Attributes:
        path: the directory.
        manifest: the bundle's description of itself, as it was read from ``embedge.json``.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Open the bundle in a directory. Only the manifest is read; ``check`` reads the other files.

        Raises:
            BundleNotFoundError: there is no such directory, or no manifest in it.
            BundleError: the manifest cannot be read, or is not valid.
        """
        folder = expand(path, what="a bundle's path", error=BundleNotFoundError)
        return cls(folder, Manifest.from_json(cls.read_manifest(folder), where=str(folder / MANIFEST)))

    @staticmethod
    def read_manifest(folder: Path) -> str:
        """Read the JSON text of the manifest in a directory.

        Raises:
            BundleNotFoundError: there is no such directory, or no manifest in it.
            BundleError: the manifest cannot be read, is not a regular file, is too large or is not UTF-8.
        """
        try:
            _check_is_bundle(folder)
            return read_regular(folder / MANIFEST, LARGEST_MANIFEST).decode()
        except OSError as error:
            path = folder / MANIFEST if error.filename == str(folder / MANIFEST) else folder
            reason = error.strerror or error
            raise BundleError(f"{path} cannot be read ({reason}); pass the path of a readable bundle") from error
        except UnicodeDecodeError as error:
            raise BundleError(
                f"{folder / MANIFEST} is not UTF-8 ({error.reason}); download or export the bundle again"
            ) from error

    def pick_precision(self, precision: str | None, *, preferred: Iterable[Precision] = PRECISIONS) -> Precision:
        """Return the requested precision; for None the first of ``preferred`` that the bundle holds.

        Raises:
            InputValueError: there is no such precision.
            PrecisionNotFoundError: the bundle lacks it; the message has the command that adds it.
        """
        return pick_precision(
            self.manifest,
            precision,
            where=str(self.path),
            command=self._export_command,
            preferred=preferred,
        )

    def _export_command(self, precision: Precision) -> str:
        from embedge.bundle.remedy import export_command  # only errors need it

        return export_command(self.manifest, precision, output=self.path)

    def graph(self, precision: Precision) -> Path:
        """Return the path of the graph of a precision that the bundle holds."""
        return self.path / self.manifest.precisions[precision].file

    def fused_graph(self, precision: Precision) -> Path | None:
        """Return the path of a precision's graph for the operators of embedge-kernels; None if the bundle has none."""
        fused = self.manifest.precisions[precision].fused
        return None if fused is None else self.path / fused

    def graph_files(self, precision: str) -> tuple[str, ...]:
        """Return the names of a precision's files: its graph, its fused graph if it has one, and then its weights.

        Both graphs read the same weights. Small graphs have none in a file of their own.

        A weights file that exists is included even if the manifest does not name it: ONNX Runtime would load it, so
        ``check`` must report it.
        """
        record = self.manifest.precisions[precision]
        weights = record.file + WEIGHTS_SUFFIX
        has_weights = weights in self.manifest.files or os.path.lexists(self.path / weights)
        return (*record.graphs, weights) if has_weights else record.graphs

    def check(self, names: Iterable[str] | None = None, *, only_damage: bool = False) -> None:
        """Compare the sizes and checksums of files with the manifest.

        ONNX Runtime loads a graph with a flipped bit without an error, and its vectors are wrong. So call this before
        you load a file.

        Args:
            names: the files' names; None checks all files.
            only_damage: compare only the CRC-32, where the manifest has it, and not the SHA-256. It takes a fraction of
                the time and finds any damage, but not files that were replaced on purpose.

        Raises:
            BundleCorruptError: a file is missing, cannot be read, or differs from what was exported.
        """
        if found := self._find_fault(names, only_damage=only_damage):
            name, fault = found
            raise BundleCorruptError(f"{fault}; {self._how_to_repair(name)}")

    def check_sizes(self, names: Iterable[str]) -> None:
        """Compare only the sizes of files with the manifest, before anything else opens them.

        Raises:
            BundleCorruptError: a file is missing, has another size, or is not a regular file: a pipe would block its
                reader.
        """
        for name in names:
            if fault := self._fault_of_size(name):
                raise BundleCorruptError(f"{fault}; {self._how_to_repair(name)}")

    def find_fault(self, names: Iterable[str] | None = None) -> str | None:
        """Return the first fault that ``check`` would report, without the advice; None if there is none."""
        found = self._find_fault(names, only_damage=False)
        return found[1] if found else None

    def is_whole(self, names: Iterable[str] | None = None) -> bool:
        """Whether ``check`` reports no fault."""
        return self.find_fault(names) is None

    def _find_fault(self, names: Iterable[str] | None, *, only_damage: bool) -> tuple[str, str] | None:
        """The name of the first faulty file, and its fault."""
        used = (*self.manifest.files, TOKENIZER, *self.manifest.graphs)
        for name in dict.fromkeys(used) if names is None else names:
            if fault := self._fault_of_size(name) or self._fault_of_content(name, only_damage=only_damage):
                return name, fault
        for graph in (record.file for record in self.manifest.precisions.values()) if names is None else ():
            if fault := self._fault_of_weights(graph):
                return graph, fault
        return None

    def _how_to_repair(self, name: str) -> str:
        """The advice for a damaged file."""
        from embedge.bundle.remedy import how_to_repair  # only errors need it

        present = list(self.manifest.precisions)
        precision = next((one for one in present if name in self.graph_files(one)), present[0])
        return how_to_repair(self.manifest, precision, self.path)

    def _fault_of_size(self, name: str) -> str | None:
        path, record = self.path / name, self.manifest.files.get(name)
        if record is None:
            return f"{self.path / MANIFEST} uses {name} but has no hash of it"
        try:
            size = size_of(path)
        except OSError as error:
            return _unreadable(path, error)
        return None if size == record.size else f"{path} has {size} bytes, not the {record.size} that were exported"

    def _fault_of_content(self, name: str, *, only_damage: bool) -> str | None:
        path, record = self.path / name, self.manifest.files[name]
        checksums = []
        try:
            if record.crc32 is not None:
                checksums.append(("CRC-32", crc32(path), record.crc32))
            if not (checksums and only_damage):
                checksums.append(("SHA-256", sha256(path), record.sha256))
        except OSError as error:
            return _unreadable(path, error)
        for kind, actual, recorded in checksums:
            if actual != recorded:
                return f"{path} has changed since it was exported ({kind} {actual[:12]}, not {recorded[:12]})"
        return None

    def _fault_of_weights(self, graph: str) -> str | None:
        """The fault of a graph that refers to a weights file that the manifest does not name.

        Such a graph contains the file's name, as ONNX defines it for external data.
        """
        path, weights = self.path / graph, graph + WEIGHTS_SUFFIX
        try:
            if weights in self.manifest.files or not contains(path, weights.rpartition("/")[2].encode()):
                return None
        except OSError as error:
            return _unreadable(path, error)
        return f"{path} needs the file {weights}, which {self.path / MANIFEST} does not list"


def _unreadable(path: Path, error: OSError) -> str:
    return f"{path} cannot be read ({error.strerror or error})"
