"""The size of a deployment in bytes: embedge, the packages that it requires, and bundles.

It reads the metadata that pip installs with each package. Only `embedge info --footprint` imports this module.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST, TOKENIZER
from embedge.command.installed_packages import find_packages, installed_files
from embedge.hub.cache import cached_bundles, open_local
from embedge.inference.device.onnxruntime_packages import NAMES
from embedge.ship.trim import IMPORTED, TRIM, find_trim


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes on disk.

    Attributes:
        installed: as pip installs it or the exporter writes it, without ``__pycache__``.
        trimmed: without the files that ``TRIM`` lists.
        needed: trimmed, and only what a process imports and reads if it gives a bundle's path to ``Embedder``.
    """

    installed: int
    trimmed: int
    needed: int

    @classmethod
    def sum(cls, sizes: Iterable["Size"]) -> "Size":
        """The sums of the sizes.

        >>> Size.sum([Size(installed=3, trimmed=2, needed=0), Size(installed=4, trimmed=4, needed=4)])
        Size(installed=7, trimmed=6, needed=4)
        """
        rows = [(size.installed, size.trimmed, size.needed) for size in sizes]
        installed, trimmed, needed = (sum(row[column] for row in rows) for column in range(3))
        return cls(installed=installed, trimmed=trimmed, needed=needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed distribution.

    Attributes:
        name: normalised, as in ``hf-xet``.
        version: the distribution's version.
        size: the size of its files.
        deletable: bytes of the files that ``TRIM`` lists, by pattern.
    """

    name: str
    version: str
    size: Size
    deletable: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFiles:
    """The files of a bundle.

    Attributes:
        model: the model's name in the manifest.
        path: the directory.
        precision: the precision of the graph that Embedder loads by default on a CPU.
        files: the size of each file by its path in the directory.
    """

    model: str
    path: str
    precision: str
    files: Mapping[str, Size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The size of a deployment.

    Attributes:
        packages: embedge and its direct and indirect requirements without extras; the largest first.
        missing: names of required packages that are not installed.
        bundles: the bundles that were measured.
    """

    packages: tuple[Package, ...]
    missing: tuple[str, ...]
    bundles: tuple[BundleFiles, ...]

    def to_json(self) -> str:
        """Return all attributes and the totals as JSON."""
        totals = {"packages": asdict(Size.sum(package.size for package in self.packages))}
        totals |= {bundle.path: asdict(Size.sum(bundle.files.values())) for bundle in self.bundles}
        return json.dumps({**asdict(self), "totals": totals}, indent=2)


def measure(model: str | None = None) -> Footprint:
    """Measure this installation.

    Args:
        model: the bundle to measure with it, by its name in the cache or its path; None is all cached bundles.

    Raises:
        BundleNotFoundError: there is no such bundle; none is downloaded or exported.
        EmbedgeError: a package was installed without a record of its files.
    """
    distributions, missing = find_packages("embedge")
    packages = [_package(name, found) for name, found in distributions.items()]
    packages.sort(key=lambda package: -package.size.installed)
    bundles = cached_bundles() if model is None else [open_local(model)]
    return Footprint(packages=tuple(packages), missing=missing, bundles=tuple(map(_bundle_files, bundles)))


def _package(name: str, found: Distribution) -> Package:
    files_of = trimmed_as(name)
    installed, deletable = 0, dict.fromkeys(TRIM.get(files_of, ()), 0)
    for file, path in installed_files(found).items():
        size = path.stat().st_size
        installed += size
        if pattern := find_trim(files_of, file):
            deletable[pattern] += size
    trimmed = installed - sum(deletable.values())
    return Package(
        name=name,
        version=found.version,
        size=Size(installed=installed, trimmed=trimmed, needed=trimmed if files_of in IMPORTED else 0),
        deletable={pattern: size for pattern, size in deletable.items() if size},
    )


def trimmed_as(name: str) -> str:
    """Return the name that ``TRIM`` and ``IMPORTED`` have for a package.

    >>> trimmed_as("onnxruntime-gpu"), trimmed_as("numpy")
    ('onnxruntime', 'numpy')
    """
    return "onnxruntime" if name in NAMES else name  # the builds of ONNX Runtime install the same files, and more


def _bundle_files(bundle: Bundle) -> BundleFiles:
    precision = bundle.pick_precision(None)
    read = {MANIFEST, TOKENIZER, *bundle.graph_files(precision)}
    files = {}
    for path in sorted(path for path in bundle.path.rglob("*") if path.is_file()):
        name, size = path.relative_to(bundle.path).as_posix(), path.stat().st_size
        files[name] = Size(installed=size, trimmed=size, needed=size if name in read else 0)
    return BundleFiles(model=bundle.manifest.model, path=str(bundle.path), precision=precision, files=files)
