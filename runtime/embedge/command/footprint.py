"""What a deployment of the runtime ships, in bytes: packages with all that they require, and bundles.

Needs the metadata that pip installs with a package, and only `embedge info --footprint` imports it.
"""

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST, TOKENIZER
from embedge.errors import EmbedgeError
from embedge.hub.cache import cached_bundles, open_held

_RUNTIME = Path(__file__).parent.parent
# What a process imports that gives a bundle's path to Embedder. The rest of what they require is for the hub, for the
# `embedge` command and its progress bars, or for parts of onnxruntime that embedding does not use.
IMPORTED = frozenset({"embedge", "numpy", "onnxruntime", "tokenizers"})
# Files that embedding never opens, by package: patterns (* stands for anything, / too), and what the files are for.
# Licences and notices are not among them, since they must go where the rest goes.
TRIM: Mapping[str, Mapping[str, str]] = {
    "embedge": {
        "embedge_export/*": "makes bundles",
        "embedge_models/*": "recipes, for the exporter",
    },
    "onnxruntime": {
        # The extension module links all of it statically, in the wheels for Linux, macOS and Windows.
        "onnxruntime/capi/libonnxruntime.*": "the C API's library, for programs that are not Python",
        "onnxruntime/capi/onnxruntime.dll": "the C API's library, for programs that are not Python",
        "onnxruntime/transformers/*": "optimises graphs before they are shipped",
        "onnxruntime/quantization/*": "quantises graphs before they are shipped",
        "onnxruntime/tools/*": "converts graphs",
        "onnxruntime/backend/*": "for ONNX's own tests",
        "onnxruntime/datasets/*": "graphs of its examples",
    },
    "numpy": {
        "numpy/*tests/*": "its tests",
        "numpy/*core/_simd.*": "for its tests",
        "numpy/f2py/*": "wraps Fortran code",
        "numpy/distutils/*": "builds extensions",
        "*.pyi": "types, for checkers and editors",
    },
    "tokenizers": {"*.pyi": "types, for checkers and editors"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes on disk.

    Attributes:
        installed: as pip installs it or the exporter writes it, without ``__pycache__``.
        trimmed: without the files that ``TRIM`` lists.
        needed: trimmed, without what a process that is given a bundle's path neither imports nor reads.
    """

    installed: int
    trimmed: int
    needed: int

    @classmethod
    def sum(cls, sizes: Iterable["Size"]) -> "Size":
        """All of them together.

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
        version: its version.
        size: of its files.
        deletable: bytes of those that ``TRIM`` lists, by pattern.
    """

    name: str
    version: str
    size: Size
    deletable: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFiles:
    """A bundle.

    Attributes:
        model: the name that it has for its model.
        path: the directory.
        precision: of the graph that Embedder loads where it is told none.
        files: the size of each file by its path in the directory.
    """

    model: str
    path: str
    precision: str
    files: Mapping[str, Size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a deployment ships.

    Attributes:
        packages: embedge and what it requires without extras, directly or not; the largest first.
        missing: names of packages among them that are not installed.
        bundles: bundles.
    """

    packages: tuple[Package, ...]
    missing: tuple[str, ...]
    bundles: tuple[BundleFiles, ...]

    def to_json(self) -> str:
        """All of it, with the totals."""
        totals = {"packages": asdict(Size.sum(package.size for package in self.packages))}
        totals |= {bundle.path: asdict(Size.sum(bundle.files.values())) for bundle in self.bundles}
        return json.dumps({**asdict(self), "totals": totals}, indent=2)


def measure(model: str | None = None) -> Footprint:
    """The footprint of this installation with a bundle: that of a name in the cache or a path; None is all cached ones.

    Raises:
        BundleNotFoundError: no such bundle is here; none is made.
        EmbedgeError: a package was installed without a record of its files.
    """
    found, missing = find_packages("embedge")
    packages = sorted((_package(name, item) for name, item in found.items()), key=lambda item: -item.size.installed)
    bundles = cached_bundles() if model is None else [open_held(model)]
    return Footprint(packages=tuple(packages), missing=missing, bundles=tuple(map(_bundle_files, bundles)))


def find_packages(root: str) -> tuple[dict[str, Distribution], tuple[str, ...]]:
    """A distribution and all that it requires here, by normalised name; and what of that is not installed."""
    found: dict[str, Distribution] = {}
    missing: dict[str, None] = {}
    waiting = deque([(root, "")])  # names, each with an extra
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = pair = waiting.popleft()
        if pair in seen:
            continue
        seen.add(pair)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            missing[name] = None
            continue
        for requirement in map(Requirement, found[name].requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return found, tuple(missing)


def installed_files(found: Distribution) -> dict[str, Path]:
    """The files of a distribution that are there, by their path from where it is installed; without ``__pycache__``.

    Raises:
        EmbedgeError: it was installed without a record of them.
    """
    if found.files is None:
        name = found.metadata["Name"]
        raise EmbedgeError(f"{name} has no record of its files; `pip install --force-reinstall {name}` writes one")
    files = {file.as_posix(): Path(str(file.locate())) for file in found.files}
    if canonicalize_name(found.metadata["Name"]) == "embedge" and "embedge/cli.py" not in files:  # an editable install
        files |= {f"embedge/{file.relative_to(_RUNTIME).as_posix()}": file for file in _RUNTIME.rglob("*")}
    return {name: file for name, file in files.items() if file.suffix != ".pyc" and file.is_file()}


def find_trim(package: str, file: str) -> str | None:
    """The pattern in ``TRIM`` by which a file of a package may be deleted; None for one that must stay.

    >>> find_trim("numpy", "numpy/fft/tests/test_helper.py")
    'numpy/*tests/*'
    """
    return next((pattern for pattern in TRIM.get(package, ()) if fnmatchcase(file, pattern)), None)


def _package(name: str, found: Distribution) -> Package:
    installed, deletable = 0, dict.fromkeys(TRIM.get(name, ()), 0)
    for file, path in installed_files(found).items():
        size = path.stat().st_size
        installed += size
        if pattern := find_trim(name, file):
            deletable[pattern] += size
    trimmed = installed - sum(deletable.values())
    return Package(
        name=name,
        version=found.version,
        size=Size(installed=installed, trimmed=trimmed, needed=trimmed if name in IMPORTED else 0),
        deletable={pattern: size for pattern, size in deletable.items() if size},
    )


def _bundle_files(bundle: Bundle) -> BundleFiles:
    precision = bundle.pick_precision(None)
    read = {MANIFEST, TOKENIZER, *bundle.graph_files(precision)}
    files = {}
    for path in sorted(path for path in bundle.path.rglob("*") if path.is_file()):
        name, size = path.relative_to(bundle.path).as_posix(), path.stat().st_size
        files[name] = Size(installed=size, trimmed=size, needed=size if name in read else 0)
    return BundleFiles(model=bundle.manifest.model, path=str(bundle.path), precision=precision, files=files)
