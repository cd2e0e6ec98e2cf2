"""ship(): the steps from a bundle to an output that runs on another machine."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from embedge.bundle.atomic_write import replacing
from embedge.bundle.copy import copy_bundle
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision
from embedge.bundle.staging import lock_destination, staging
from embedge.errors import EmbedgeError, InputValueError
from embedge.progress import log_step
from embedge.ship.bytecode import compile_all, find_python
from embedge.ship.own_package import copy_embedge
from embedge.ship.places import BUNDLE, PLACES, Half, PlaceName, check_output, check_place, extra_files
from embedge.ship.record import RECORD, Record, check_free, list_entries, sha256
from embedge.ship.sizes import PartSize, is_too_large, limits, sizes_by_part
from embedge.ship.symbols import blank_symbols
from embedge.ship.trim import trim
from embedge.ship.wheels import pick_requirements, unpack_wheels
from embedge.ship.zip_file import write_zip
from embedge.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to make.

    Attributes:
        place: a name of ``PLACES``.
        platform: a name of ``PLATFORMS``.
        python: the minor version of the Python that runs the output, such as ``3.13``.
        precision: of the graph; None is the one that an Embedder would load.
        newest: whether pip picks the newest packages, instead of the versions that are installed here.
        whole_numpy: whether the parts of numpy stay that embedge does not import; always so in a folder.
        bytecode: whether to compile the modules.
        only: the half to make, of a function or a layer; None makes both.
    """

    place: PlaceName
    platform: str
    python: str
    precision: Precision | None = None
    newest: bool = False
    whole_numpy: bool = False
    bytecode: bool = True
    only: Half | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """An output.

    Attributes:
        path: the folder or the ZIP file.
        record: what it consists of.
        parts: the size of each part.
        numpy_cut: whether parts of numpy were left out.
        compiler: the command of the Python that compiled the modules; None if they are not compiled.
    """

    path: Path
    record: Record
    parts: Mapping[str, PartSize]
    numpy_cut: bool
    compiler: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class _Built:
    record: Record
    numpy_cut: bool
    compiler: tuple[str, ...] | None


def ship(bundle: Bundle, output: Path, target: Target) -> Shipped:
    """Write packages, bundle and handler to a folder, or to a ZIP file if the output's name ends in ``.zip``.

    The output appears complete or not at all. An earlier output is replaced.

    Raises:
        InputValueError: the place does not run that platform or Python, or cannot be a ZIP file; or the output is the
            current folder or in the bundle.
        PrecisionNotFoundError: the bundle lacks the precision.
        BundleCorruptError: a file of the bundle differs from its manifest.
        MissingExtraError: pip is not installed.
        EmbedgeError: there is no wheel for the target, something else is at the output's path, the output cannot be
            written, or is larger than the place allows.
    """
    check_place(target.place, target.platform, target.python)
    is_zip = output.suffix.lower() == ".zip"
    if target.only and target.place not in ("lambda", "layer"):
        raise InputValueError(
            f"found --only {target.only} for a {target.place}; give --lambda or --layer, or leave it out"
        )
    if is_zip and target.place == "container":
        raise InputValueError(f"an image is built from a folder, found -o {output}; pass -o a folder")
    check_output(output, bundle.path)
    precision = bundle.pick_precision(target.precision)
    with _report_write_errors(output), lock_destination(output):
        check_free(output)
        return (_ship_zip if is_zip else _ship_folder)(bundle, output, target, precision)


def _ship_folder(bundle: Bundle, output: Path, target: Target, precision: Precision) -> Shipped:
    with staging(output) as (folder, _):
        built = _build(bundle, folder, target, precision)
        parts = _measure(folder, target, {})
    return _shipped(output, built, parts)


def _ship_zip(bundle: Bundle, output: Path, target: Target, precision: Precision) -> Shipped:
    with tempfile.TemporaryDirectory(prefix="embedge-ship-") as work:
        folder = Path(work) / "output"
        folder.mkdir()
        built = _build(bundle, folder, target, precision)
        _measure(folder, target, {})  # fails before the packing, if the output is too large
        log_step(f"{'pack':<11}{output}")
        with replacing(output) as file:
            zipped = write_zip(file, folder)
        return _shipped(output, built, _measure(folder, target, zipped))


def _build(bundle: Bundle, folder: Path, target: Target, precision: Precision) -> _Built:
    """Fill an empty folder with packages, bytecode, bundle and record."""
    packages = folder / PLACES[target.place].packages
    packages.mkdir(exist_ok=True)
    numpy_cut = target.only != "bundle" and _add_packages(packages, target)
    for name, text in extra_files(target.place, target.platform, target.python).items():
        (folder / name).write_bytes(text.encode())
    compiler = find_python(target.python) if target.bytecode else None
    if compiler:
        log_step(f"{'compile':<11}with {compiler[0]}")
        compile_all(packages, compiler)
    if target.only != "packages":
        copy_bundle(bundle, folder / BUNDLE, precisions=(precision,))
    record = _record(bundle, folder, target, precision, bytecode=compiler is not None)
    (folder / RECORD).write_bytes(record.to_json().encode())
    return _Built(record, numpy_cut, compiler)


def _add_packages(packages: Path, target: Target) -> bool:
    """Add the trimmed packages and embedge, and return whether parts of numpy were left out."""
    requirements = pick_requirements(newest=target.newest)
    log_step(f"{'wheels':<11}{', '.join(requirements)} for {target.platform}, Python {target.python}")
    unpack_wheels(packages, requirements, platform=target.platform, python=target.python)
    numpy_cut = trim(packages, whole_numpy=target.whole_numpy or PLACES[target.place].whole_numpy)
    blank_symbols(packages)
    copy_embedge(packages)
    return numpy_cut


def _record(bundle: Bundle, folder: Path, target: Target, precision: Precision, *, bytecode: bool) -> Record:
    found = distributions(path=[str(folder / PLACES[target.place].packages)])
    texts = extra_files(target.place, target.platform, target.python)
    return Record(
        embedge=__version__,
        place=target.place,
        platform=target.platform,
        python=target.python,
        model=bundle.manifest.model,
        precision=precision,
        packages={one.metadata["Name"]: one.version for one in sorted(found, key=lambda one: one.metadata["Name"])},
        bytecode=bytecode,
        entries=tuple(list_entries(folder)),
        texts={name: sha256(text.encode()) for name, text in texts.items()},
    )


def _measure(folder: Path, target: Target, zipped: Mapping[str, int]) -> dict[str, PartSize]:
    """Return the sizes of the parts.

    Raises:
        EmbedgeError: the output is larger than the place allows.
    """
    parts = sizes_by_part(folder, target.place, zipped)
    if is_too_large(target.place, parts):
        raise EmbedgeError(f"{target.place}: {list(limits(target.place, parts))[-1]}")
    return parts


def _shipped(output: Path, built: _Built, parts: Mapping[str, PartSize]) -> Shipped:
    return Shipped(path=output, record=built.record, parts=parts, numpy_cut=built.numpy_cut, compiler=built.compiler)


@contextmanager
def _report_write_errors(output: Path) -> Iterator[None]:
    """Turn an OSError of the block into an EmbedgeError that says that the output cannot be written."""
    try:
        yield
    except OSError as error:
        raise EmbedgeError(
            f"{output} cannot be written ({error.strerror or error}); make room there and in "
            f"{tempfile.gettempdir()}, or pass another -o"
        ) from error
