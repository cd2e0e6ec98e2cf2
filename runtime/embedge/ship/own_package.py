"""Copies embedge itself, as it runs here, into an output: its modules, its metadata and its licence."""

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from embedge.errors import EmbedgeError
from embedge.version import __version__

_SOURCE = Path(__file__).parents[1]
# What only the `embedge` command needs; it needs click, which is not shipped.
_NOT_COPIED = ("__main__.py", "command", "ship")
_METADATA = ("METADATA", "LICENSE")


def copy_embedge(packages: Path) -> None:
    """Copy the runtime that runs this process into a folder of packages, without the `embedge` command.

    Its metadata come along, from which programs read its version and licence. A source tree that is not installed has
    none; its version is written then.

    Raises:
        EmbedgeError: embedge runs from a ZIP file.
    """
    if not _SOURCE.is_dir():
        raise EmbedgeError(f"embedge runs from a ZIP file, {_SOURCE}; run `pip install embedge`, and ship from there")

    def left_out(folder: str, names: list[str]) -> set[str]:
        at_the_top = Path(folder) == _SOURCE
        return {name for name in names if name == "__pycache__" or (at_the_top and name in _NOT_COPIED)}

    shutil.copytree(_SOURCE, packages / "embedge", ignore=left_out)
    info = packages / f"embedge-{__version__}.dist-info"
    for name, source in _metadata().items():
        (info / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, info / name)
    if not info.exists():
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: embedge\nVersion: {__version__}\n")


def _metadata() -> dict[str, Path]:
    """The files of embedge's installed metadata that are copied, by their path in the folder of metadata."""
    try:
        found = distribution("embedge")
    except PackageNotFoundError:
        return {}
    files = {file: Path(str(file.locate())) for file in found.files or () if file.name in _METADATA}
    return {
        "/".join(file.parts[1:]): path
        for file, path in files.items()
        if file.parts[0].endswith(".dist-info") and path.is_file()
    }
