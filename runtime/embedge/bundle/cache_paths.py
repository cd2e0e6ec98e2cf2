"""Where the cache is, and where it keeps a bundle."""

import os
from os import PathLike
from pathlib import Path

from embedge.bundle.paths import expand
from embedge.errors import BundleError


def cache_home(cache_dir: str | PathLike[str] | None = None) -> Path:
    """The cache: ``cache_dir``, else ``$EMBEDGE_HOME``, else the platform's cache folder for embedge.

    A relative one is relative to the current directory of each call.

    Raises:
        BundleError: no file system has such a path, or nobody knows this user's home folder.
        InputTypeError: ``cache_dir`` is neither a string nor a path.
    """
    if cache_dir is not None:
        return expand(cache_dir, what="cache_dir")
    if home := os.environ.get("EMBEDGE_HOME"):
        return expand(home, what="EMBEDGE_HOME")
    from platformdirs import user_cache_path

    try:
        path = user_cache_path("embedge", appauthor=False)
    except (OSError, RuntimeError, LookupError) as error:
        raise _no_cache(str(error)) from error
    if not path.is_absolute():  # else a folder with the name ~ would be made here
        raise _no_cache(f"found {path}")
    return path


def _no_cache(reason: str) -> BundleError:
    return BundleError(f"there is no cache folder: this user has no home ({reason}); set EMBEDGE_HOME to a directory")


def cached_path(name: str, cache_dir: str | PathLike[str] | None = None) -> Path:
    """Where the cache keeps the bundle of a recipe's name or a hub id; it may not exist.

    >>> cached_path("BAAI/bge-small-en-v1.5", "/cache").as_posix()
    '/cache/bundles/BAAI--bge-small-en-v1.5'
    """
    return cache_home(cache_dir) / "bundles" / name.replace("/", "--")
