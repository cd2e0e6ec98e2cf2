"""A model's name, hub id or path to its bundle; and where the cache is."""

import os
import re
import shlex
from os import PathLike
from pathlib import Path
from typing import Any

from embedge.bundle import MANIFEST, Bundle
from embedge.errors import BundleError, BundleNotFoundError, CheckpointError, MissingExtraError, TextTypeError

_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_LONGEST_NAME = 200  # characters; file systems stop at 255 bytes


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
    """The bundle of a model: at that path, in the cache, or made now where the export extra is installed.

    What is made is told step by step to the logger ``embedge``, at level INFO.

    Args:
        model: path of a bundle, recipe's name (``bge-small-en-v1.5``) or hub id (``BAAI/bge-small-en-v1.5``).
        precision: what to export where the bundle has to be made; int8 where None.
        cache_dir: the cache; see ``cache_home``.
        local_files_only: never touch the network.

    Raises:
        BundleNotFoundError: there is none and none can be made; names the ways on.
        BundleError: what is there cannot be used.
        TextTypeError: ``model`` is neither a string nor a path.
    """
    if not isinstance(model, str | PathLike):
        raise TextTypeError(f"model must be a name or a path, found {type(model).__name__}")
    if not str(model) or (_NAME.fullmatch(str(model)) and len(str(model)) > _LONGEST_NAME):
        found = f"one of {len(str(model))} characters" if str(model) else "an empty one"
        raise BundleNotFoundError(f"model must be a name or a path, found {found}; `embedge models` lists names")
    if is_path(model):
        return Bundle.open(model)
    name = str(model)
    return find_cached(name, cache_dir) or _export(name, precision, cache_dir, local_files_only)


def is_path(model: str | PathLike[str]) -> bool:
    """Whether ``model`` means a path: not a string, one that looks like a path, or one where a bundle is."""
    return not isinstance(model, str) or not _NAME.fullmatch(model) or _is_file(Path(model) / MANIFEST)


def find_cached(name: str, cache_dir: str | PathLike[str] | None) -> Bundle | None:
    """The cached bundle of a recipe's name or hub id; a recipe's bundle answers to its hub id too."""
    folder = cached_path(name, cache_dir)
    if _is_file(folder / MANIFEST):
        return Bundle.open(folder)
    if "/" not in name:
        return None
    return next((b for b in cached_bundles(cache_dir) if b.manifest.source.hub_id == name), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder that may not be searched
        return False


def _export(name: str, precision: str | None, cache_dir: Any, local_files_only: bool) -> Bundle:
    """The one place where the runtime calls the exporter, if it is installed."""
    try:
        from embedge_export import export  # noqa: TID251
        from embedge_export.recipe import find_recipe  # noqa: TID251

        # The exporter would take a directory; here "ckpt" is to mean what "./ckpt" does. (A recipe's name is a recipe's
        # wherever the process was started.)
        if Path(name).is_dir() and find_recipe(name) is None:
            return Bundle.open(name)
        return export(
            name,
            precisions=(precision or "int8",),  # type: ignore[arg-type]  # the exporter checks it
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            report=_Report(name),
        )
    except CheckpointError as error:
        raise BundleNotFoundError(
            f"no bundle of {name!r} in {cache_home(cache_dir)} and none can be made: {error}; "
            "or copy a bundle's directory here and give its path"
        ) from error
    except ImportError as error:
        if not isinstance(error, MissingExtraError | ModuleNotFoundError):
            raise
        raise BundleNotFoundError(
            f"no bundle of {name!r} in {cache_home(cache_dir)}; three ways on: "
            f"(1) `embedge export {shlex.quote(name)}` on a machine with the network makes one, "
            f"(2) copy a bundle's directory here and give its path, "
            f"(3) `pip install 'embedge[export]'` and it is made on first use"
        ) from error


class _Report:
    """Logs the steps of an export, and in front of the first what they are for."""

    def __init__(self, name: str) -> None:
        self._title = f"{name} is not in the cache yet: exporting it, once"

    def __call__(self, line: str) -> None:
        import logging  # 3 ms that a cold start does without

        log = logging.getLogger("embedge")
        if self._title:
            log.info("%s", self._title)
            self._title = ""
        log.info("%s", line)
