"""The bundle: the directory that the runtime loads, and what is checked of its files.

A bundle is also a valid sentence-transformers repository, so its other files keep the names that the Hugging Face
ecosystem gives them.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

from embedge.advice import export_command, mend
from embedge.checksum import crc32, sha256
from embedge.errors import BundleCorruptError, BundleError, BundleNotFoundError, PrecisionNotFoundError
from embedge.manifest import MANIFEST, PRECISIONS, TOKENIZER, WEIGHTS_SUFFIX, FileRecord, Manifest, Precision


def _check_is_bundle(folder: Path) -> None:
    """Raises BundleNotFoundError, with what is there instead, where a directory holds no manifest."""
    if not folder.is_dir():
        raise BundleNotFoundError(f"no bundle at {folder}: no such directory; `embedge models` lists known models")
    if (folder / MANIFEST).is_file():
        return
    if (folder / "config.json").is_file():
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
        folder = Path(path).expanduser()
        try:
            _check_is_bundle(folder)
            text = (folder / MANIFEST).read_text(encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise BundleError(f"{folder} cannot be read ({reason}); give the path of a bundle that can") from error
        except UnicodeDecodeError as error:
            raise BundleError(f"{folder / MANIFEST} is not UTF-8 ({error.reason}); get the bundle again") from error
        return cls(folder, Manifest.from_json(text, where=str(folder / MANIFEST)))

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
        return (graph, weights) if weights in self.manifest.files or (self.path / weights).exists() else (graph,)

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
        graphs = (record.file for record in self.manifest.precisions.values())
        for name in dict.fromkeys((*self.manifest.files, TOKENIZER, *graphs)) if names is None else names:
            if name not in self.manifest.files:
                found = f"{self.path / MANIFEST} uses {name} but records no hash of it"
                raise BundleCorruptError(f"{found}; {self._mend(name)}")
            self._check_file(name, self.manifest.files[name], only_damage=only_damage)

    def is_whole(self, names: Iterable[str] | None = None) -> bool:
        """Whether ``check`` finds nothing."""
        try:
            self.check(names)
        except BundleCorruptError:
            return False
        return True

    def _mend(self, name: str) -> str:
        """What to do about a damaged file."""
        held = list(self.manifest.precisions)
        precision = next((one for one in held if name in self.graph_files(one)), held[0])
        return mend(self.manifest, precision, self.path)

    def _check_file(self, name: str, record: FileRecord, *, only_damage: bool) -> None:
        path = self.path / name
        try:
            size = path.stat().st_size
            if size != record.size:
                raise BundleCorruptError(
                    f"{path} has {size} bytes, not the {record.size} that were exported; {self._mend(name)}"
                )
            pairs = []  # of what is found, and what is recorded
            if record.crc32 is not None:
                pairs.append(("CRC-32", crc32(path), record.crc32))
            if not (pairs and only_damage):
                pairs.append(("SHA-256", sha256(path), record.sha256))
        except OSError as error:
            raise BundleCorruptError(f"{path} cannot be read ({error.strerror}); {self._mend(name)}") from error
        for kind, found, expected in pairs:
            if found != expected:
                raise BundleCorruptError(
                    f"{path} has changed since it was exported ({kind} {found[:12]}, not {expected[:12]}); "
                    f"{self._mend(name)}"
                )
