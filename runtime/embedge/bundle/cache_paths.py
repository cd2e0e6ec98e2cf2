"""The paths of the cache and of the bundles in it."""

import os
from os import PathLike
from pathlib import Path

from embedge.bundle.paths import expand
from embedge.errors import BundleError


def cache_home(cache_dir: str | PathLike[str] | None = None) -> Path:
    """Return the cache folder: ``cache_dir``, else ``$EMBEDGE_HOME``, else the platform's cache folder for embedge.

    A relative path is relative to the current directory of each call.

    Raises:
        BundleError: the path is not a valid one, the user's home folder is unknown, or platformdirs is not installed.
        InputTypeError: ``cache_dir`` is neither a string nor a path.
    """
    if cache_dir is not None:
        return expand(cache_dir, what="cache_dir")
    if home := os.environ.get("EMBEDGE_HOME"):
        return expand(home, what="EMBEDGE_HOME")
    try:
        from platformdirs import user_cache_path
    except ModuleNotFoundError as error:  # as in a trimmed deployment
        raise BundleError(
            "the cache folder cannot be found without platformdirs, which is not installed; pass the path of a bundle, "
            "set EMBEDGE_HOME to a directory, or run `pip install platformdirs`"
        ) from error

    try:
        path = user_cache_path("embedge", appauthor=False)
    except (OSError, RuntimeError, LookupError) as error:
        raise _no_home(str(error)) from error
    if not path.is_absolute():  # it starts with ~: a folder with the name ~ would be made in the current directory
        raise _no_home(f"found {path}")
    return path


def _no_home(reason: str) -> BundleError:
    return BundleError(
        f"there is no cache folder: the user has no home folder ({reason}); set EMBEDGE_HOME to a directory"
    )


def cached_path(name: str, cache_dir: str | PathLike[str] | None = None) -> Path:
    """Return where the cache stores the bundle of a recipe's name or hub id; the bundle may not exist.

    >>> cached_path("BAAI/bge-small-en-v1.5", "/cache").as_posix()
    '/cache/bundles/BAAI--bge-small-en-v1.5'
    """
    return cache_home(cache_dir) / "bundles" / name.replace("/", "--")
