"""The bundles in the cache, by name or hub id."""

import re
import shlex
from os import PathLike
from pathlib import Path

from embedge.bundle.cache_paths import cache_home, cached_path
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST
from embedge.bundle.paths import is_dir, is_file
from embedge.errors import BundleError, BundleNotFoundError, InputTypeError

_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_LONGEST_NAME = 200  # characters; file systems stop at 255 bytes


def cached_bundles(cache_dir: str | PathLike[str] | None = None) -> list[Bundle]:
    """The bundles in the cache, by name. Directories that hold no usable bundle are left out."""
    bundles = []
    for manifest in _manifests(cache_home(cache_dir) / "bundles"):
        try:
            bundles.append(Bundle.open(manifest.parent))
        except BundleError:
            continue
    return bundles


def _manifests(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob(f"[!.]*/{MANIFEST}"))
    except OSError:  # it may not be read; what needs the cache will say so
        return []


def check_name(model: object) -> None:
    """Raises InputTypeError where it is no string or path, BundleNotFoundError where it cannot be a model's."""
    if not isinstance(model, str | PathLike):
        raise InputTypeError(f"model must be a name or a path, found {type(model).__name__}")
    if not str(model) or (_NAME.fullmatch(str(model)) and len(str(model)) > _LONGEST_NAME):
        found = f"one of {len(str(model))} characters" if str(model) else "an empty one"
        raise BundleNotFoundError(f"model must be a name or a path, found {found}; `embedge models` lists names")


def is_path(model: str | PathLike[str]) -> bool:
    """Whether ``model`` means a path: not a string, one that looks like a path, or one where a bundle is."""
    return not isinstance(model, str) or not _NAME.fullmatch(model) or is_file(Path(model) / MANIFEST)


def find_cached(name: str, cache_dir: str | PathLike[str] | None) -> Bundle | None:
    """The cached bundle of a recipe's name or hub id; a recipe's bundle answers to its hub id too."""
    folder = cached_path(name, cache_dir)
    if is_file(folder / MANIFEST):
        try:
            return Bundle.open(folder)
        except BundleError as error:
            again = f"`embedge pull {shlex.quote(name)}` brings it anew"
            raise BundleError(f"{error}; delete {folder}, and {again}") from error
    if "/" not in name:
        return None
    # Not one from another repository on the hub, whatever that says of itself: their folders have a -- in their names.
    own = (bundle for bundle in cached_bundles(cache_dir) if "--" not in bundle.path.name)
    return next((bundle for bundle in own if bundle.manifest.source.hub_id == name), None)


def open_held(model: str | PathLike[str]) -> Bundle:
    """The bundle at that path, or of that name in the cache as it is; nothing is brought.

    Raises:
        BundleNotFoundError: there is none; names the command that brings it.
        BundleError: what is there cannot be used.
    """
    check_name(model)
    found = None if is_path(model) else find_cached(str(model), None)
    if found is None and (is_path(model) or is_dir(Path(model))):
        return Bundle.open(model)
    if found is None:
        raise BundleNotFoundError(
            f"no bundle of {str(model)!r} in {cache_home()}; `embedge pull {shlex.quote(str(model))}` brings it, "
            "`embedge info` lists those that are there, or give a bundle's path"
        )
    return found
