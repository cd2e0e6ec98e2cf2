"""Finds bundles in the cache by a recipe's name or a hub id."""

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
    """Return the bundles in the cache, sorted by name. Skips directories that hold no usable bundle."""
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
    except OSError:  # the folder is not readable; the code that needs the cache reports it
        return []


def check_name(model: object) -> None:
    """Check that ``model`` can be a model's name or path.

    Raises:
        InputTypeError: it is neither a string nor a path.
        BundleNotFoundError: it is empty or too long.
    """
    if not isinstance(model, str | PathLike):
        raise InputTypeError(f"model must be a name or a path, found {type(model).__name__}")
    if not str(model):
        raise BundleNotFoundError("model must be a name or a path, found an empty string; run `embedge models`")
    if _NAME.fullmatch(str(model)) and len(str(model)) > _LONGEST_NAME:
        raise BundleNotFoundError(
            f"model must be a name or a path, found a name of {len(str(model))} characters, over {_LONGEST_NAME}; "
            "run `embedge models`"
        )


def is_path(model: str | PathLike[str]) -> bool:
    """Whether ``model`` is a path: it is not a string, does not look like a name, or a bundle is at that path."""
    return not isinstance(model, str) or not _NAME.fullmatch(model) or is_file(Path(model) / MANIFEST)


def find_cached(name: str, cache_dir: str | PathLike[str] | None) -> Bundle | None:
    """Return the cached bundle of a recipe's name or a hub id, or None.

    A bundle that was exported by a recipe's name is returned for the recipe's hub id, too.
    """
    folder = cached_path(name, cache_dir)
    if is_file(folder / MANIFEST):
        try:
            return Bundle.open(folder)
        except BundleError as error:
            raise BundleError(f"{error}; delete {folder} and run `embedge pull {shlex.quote(name)}`") from error
    if "/" not in name:
        return None
    # Bundles that were downloaded from another repository are left out, because a manifest can claim any hub id. Their
    # directories have "--" in their names.
    exported = (bundle for bundle in cached_bundles(cache_dir) if "--" not in bundle.path.name)
    return next((bundle for bundle in exported if bundle.manifest.source.hub_id == name), None)


def open_local(model: str | PathLike[str]) -> Bundle:
    """Return the bundle at that path, or of that name in the cache. Never downloads or exports.

    Raises:
        BundleNotFoundError: there is none; the message names the command that obtains it.
        BundleError: the bundle there cannot be used.
    """
    check_name(model)
    cached = None if is_path(model) else find_cached(str(model), None)
    if cached is not None:
        return cached
    if is_path(model) or is_dir(Path(model)):
        return Bundle.open(model)
    raise BundleNotFoundError(
        f"no bundle of {str(model)!r} in {cache_home()}; run `embedge pull {shlex.quote(str(model))}`, "
        "or `embedge info` to list the cached bundles, or give a bundle's path"
    )
