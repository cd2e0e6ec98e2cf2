"""``PackedBundle``: a bundle as one value, which an engine sends to its workers where no disk and no hub reaches them.

    import ray
    from embedge import Embedder
    from embedge.integrations.packed_bundle import PackedBundle

    packed = ray.put(PackedBundle.pack("bge-small-en-v1.5"))  # or spark.sparkContext.broadcast(...)

    @ray.remote
    def embed(texts, packed):
        return Embedder(packed.unpack()).encode(texts)

A machine writes the files once, to its cache, however many of its processes ask at the same time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Self

from embedge.bundle.cache_paths import cache_home
from embedge.bundle.cut import cut
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST, Manifest
from embedge.bundle.paths import expand, is_file
from embedge.bundle.staging import existing_bundle, lock_destination, report_write_errors, staging
from embedge.bundle.write_files import local_blocks, write_bundle
from embedge.errors import BundleError
from embedge.hub.resolve import resolve


@dataclass(frozen=True, slots=True)
class PackedBundle:
    """A bundle's manifest and files. It takes as much memory as the files take on the disk.

    Attributes:
        manifest: the JSON text of the manifest.
        files: the content of each file that the manifest names.
    """

    manifest: str
    files: Mapping[str, bytes]

    @classmethod
    def pack(cls, model: str | PathLike[str], *, precisions: Sequence[str] | None = None) -> Self:
        """Read a bundle into memory.

        Args:
            model: the name of a recipe, a hub id, or the path of a bundle.
            precisions: the precisions of the graphs; None is the one that an Embedder would load on a CPU.

        Raises:
            BundleCorruptError: a file differs from the manifest.
            PrecisionNotFoundError: the bundle lacks a precision.
            EmbedgeError: as for ``Embedder``.
        """
        bundle = resolve(model)
        picked = [bundle.pick_precision(one) for one in precisions or (None,)]

        def read(name: str) -> list[bytes]:
            return list(local_blocks(bundle.path / name))

        bundle.check()
        left = cut(Bundle.read_manifest(bundle.path), picked, read, where=str(bundle.path))
        names = Manifest.from_json(left.text, where=str(bundle.path / MANIFEST)).files
        return cls(left.text, {name: b"".join(left.reads(read)(name)) for name in names})

    def unpack(self, folder: str | PathLike[str] | None = None) -> Path:
        """Write the bundle to a folder, unless it is there already, and return the folder.

        One process of a machine writes, under a lock, and checks what it wrote; the others wait. The folder appears
        complete or not at all: if the process is killed, the next one writes it.

        Args:
            folder: a folder that does not exist, or holds this bundle; None is one in the cache of this machine, whose
                name depends on the content.

        Raises:
            BundleError: the folder cannot be written, or holds something else.
        """
        digest = hashlib.sha256(self.manifest.encode()).hexdigest()
        wanted = cache_home() / "packed" / digest[:16] if folder is None else expand(folder, what="the folder")
        if self._is_at(wanted):
            return wanted
        with report_write_errors(wanted), lock_destination(wanted):
            if not self._is_at(wanted):
                existing = existing_bundle(wanted)
                if existing is not None and Bundle.read_manifest(wanted) != self.manifest:
                    raise BundleError(f"{wanted} holds another bundle; delete it, or pass another folder")
                with staging(wanted, replaces=existing) as (made, _):
                    write_bundle(self.manifest, lambda name: [self.files[name]], made, where="the packed bundle")
        return wanted

    def _is_at(self, folder: Path) -> bool:
        """Whether the folder holds this bundle, by its files' sizes; the model that loads it compares checksums."""
        if not is_file(folder / MANIFEST) or Bundle.read_manifest(folder) != self.manifest:
            return False
        try:
            Bundle.open(folder).check_sizes(self.files)
        except BundleError:
            return False
        return True
