"""A model's name, hub id or path to its bundle; and where the cache is."""

import os
import re
from os import PathLike
from pathlib import Path
from typing import Any

from embedge.bundle import MANIFEST, Bundle
from embedge.errors import BundleError, BundleNotFoundError, CheckpointError, MissingExtraError


def cache_home(cache_dir: str | PathLike[str] | None = None) -> Path:
    """The cache: ``cache_dir``, else ``$EMBEDGE_HOME``, else the platform's cache folder for embedge."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if home := os.environ.get("EMBEDGE_HOME"):
        return Path(home).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("embedge", appauthor=False)


def cached_path(name: str, cache_dir: str | PathLike[str] | None = None) -> Path:
    """Where the cache keeps the bundle of a recipe's name or a hub id; it may not exist.

    >>> cached_path("BAAI/bge-small-en-v1.5", "/cache").as_posix()
    '/cache/bundles/BAAI--bge-small-en-v1.5'
    """
    return cache_home(cache_dir) / "bundles" / name.replace("/", "--")


def cached_bundles(cache_dir: str | PathLike[str] | None = None) -> list[Bundle]:
    """The bundles in the cache, by name. Directories that hold no usable bundle are left out."""
    bundles = []
    for manifest in sorted((cache_home(cache_dir) / "bundles").glob(f"[!.]*/{MANIFEST}")):
        try:
            bundles.append(Bundle.open(manifest.parent))
        except BundleError:
            continue
    return bundles


def resolve(
    model: str | PathLike[str],
    *,
    precision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Bundle:
    """The bundle of a model: at that path, in the cache, or made now where the export extra is installed.

    Args:
        model: path of a bundle, recipe's name (``bge-small-en-v1.5``) or hub id (``BAAI/bge-small-en-v1.5``).
        precision: what to export where the bundle has to be made; int8 where None.
        cache_dir: the cache; see ``cache_home``.
        local_files_only: never touch the network.

    Raises:
        BundleNotFoundError: there is none and none can be made; names the three ways on.
        BundleError: what is there cannot be used.
    """
    if is_path(model):
        return Bundle.open(model)
    name = str(model)
    return find_cached(name, cache_dir) or _export(name, precision, cache_dir, local_files_only)


def is_path(model: str | PathLike[str]) -> bool:
    """Whether ``model`` means a path: not a string, one that looks like a path, or one where a bundle is."""
    if not isinstance(model, str):
        return True
    return not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", model) or (Path(model) / MANIFEST).is_file()


def find_cached(name: str, cache_dir: str | PathLike[str] | None) -> Bundle | None:
    """The cached bundle of a recipe's name or hub id; a recipe's bundle answers to its hub id too."""
    folder = cached_path(name, cache_dir)
    if (folder / MANIFEST).is_file():
        return Bundle.open(folder)
    if "/" not in name:
        return None
    return next((b for b in cached_bundles(cache_dir) if b.manifest.source.hub_id == name), None)


def _export(name: str, precision: str | None, cache_dir: Any, local_files_only: bool) -> Bundle:
    """The one place where the runtime calls the exporter, if it is installed."""
    try:
        from embedge_export import export  # noqa: TID251

        return export(
            name,
            precisions=(precision or "int8",),  # type: ignore[arg-type]  # the exporter checks it
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
    except CheckpointError as error:
        reason = f" and none can be made: {error}"
        raise BundleNotFoundError(_no_bundle(name, cache_dir, reason)) from error
    except ImportError as error:
        if not isinstance(error, MissingExtraError | ModuleNotFoundError):
            raise
        raise BundleNotFoundError(_no_bundle(name, cache_dir, "")) from error


def _no_bundle(name: str, cache_dir: Any, reason: str) -> str:
    return (
        f"no bundle of {name!r} in {cache_home(cache_dir)}{reason}; three ways on: "
        f"(1) `embedge export {name}` on a machine with the network makes one, "
        f"(2) copy a bundle's directory here and give its path, "
        f"(3) `pip install 'embedge[export]'` and it is made on first use"
    )
