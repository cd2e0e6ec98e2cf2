"""A model's name, hub id or path to its bundle; and where the cache is."""

import os
import re
import shlex
from os import PathLike
from pathlib import Path

from embedge.bundle import Bundle
from embedge.errors import BundleError, BundleNotFoundError, PrecisionNotFoundError, TextTypeError
from embedge.manifest import MANIFEST, PRECISIONS
from embedge.paths import expand, is_dir, is_file

_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_LONGEST_NAME = 200  # characters; file systems stop at 255 bytes


def cache_home(cache_dir: str | PathLike[str] | None = None) -> Path:
    """The cache: ``cache_dir``, else ``$EMBEDGE_HOME``, else the platform's cache folder for embedge.

    A relative one is relative to the current directory of each call.

    Raises:
        BundleError: no file system has such a path, or nobody knows this user's home folder.
        TextTypeError: ``cache_dir`` is neither a string nor a path.
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


def resolve(
    model: str | PathLike[str],
    *,
    precision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Bundle:
    """The bundle of a model: at that path, or in the cache, where it is brought on first use.

    What is brought is told step by step to the logger ``embedge``, at level INFO. A bundle in the cache is taken as it
    is, and nobody is asked whether there is a newer one.

    Args:
        model: path of a bundle, recipe's name (``bge-small-en-v1.5``) or hub id (``BAAI/bge-small-en-v1.5``).
        precision: what to bring where there is no bundle yet; int8 where None.
        cache_dir: the cache; see ``cache_home``.
        local_files_only: never touch the network.

    Raises:
        BundleNotFoundError: there is none and none can be had; names the ways on.
        BundleError: what is there cannot be used.
        HubError: the hub holds it, and fails or breaks off.
        TextTypeError: ``model`` is neither a string nor a path.
    """
    check_name(model)
    if is_path(model):
        return Bundle.open(model)
    name = str(model)
    found = find_cached(name, cache_dir)
    if found is None:
        from embedge.bring import bring  # much that a cached bundle does without

        return bring(name, (precision,) if precision else None, cache_dir, local_files_only=local_files_only)
    if precision in PRECISIONS and precision not in found.manifest.precisions:
        held = ", ".join(sorted(found.manifest.precisions))
        add = f"`embedge pull {shlex.quote(name)} --precision {precision}` adds it"
        raise PrecisionNotFoundError(f"{found.path} holds {held}, not {precision}; {add}")
    return found


def check_name(model: object) -> None:
    """Raises TextTypeError where it is no string or path, BundleNotFoundError where it cannot be a model's."""
    if not isinstance(model, str | PathLike):
        raise TextTypeError(f"model must be a name or a path, found {type(model).__name__}")
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
