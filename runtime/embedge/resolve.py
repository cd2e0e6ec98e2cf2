"""A model's name, hub id or path to its bundle; and where the cache is."""

import os
import re
import shlex
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from embedge.bundle import Bundle
from embedge.errors import (
    BundleError,
    BundleNotFoundError,
    CheckpointError,
    HubError,
    MissingExtraError,
    PrecisionNotFoundError,
    TextTypeError,
)
from embedge.manifest import MANIFEST, PRECISIONS
from embedge.progress import Report

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
    _check_name(model)
    if is_path(model):
        return Bundle.open(model)
    name = str(model)
    found = find_cached(name, cache_dir)
    if found is None:
        return _bring(name, (precision,) if precision else None, cache_dir, local_files_only, None)
    if precision in PRECISIONS and precision not in found.manifest.precisions:
        held = ", ".join(sorted(found.manifest.precisions))
        add = f"`embedge pull {shlex.quote(name)} --precision {precision}` adds it"
        raise PrecisionNotFoundError(f"{found.path} holds {held}, not {precision}; {add}")
    return found


def pull(
    model: str | PathLike[str],
    *,
    precisions: Sequence[str] | None = None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    report: Report | None = None,
) -> Bundle:
    """The bundle of a model, with these precisions, every hash checked: at that path, or in the cache.

    What is added to a bundle that was downloaded, or mended in it, is of the same commit.

    Args:
        model: as for ``resolve``.
        precisions: of the graphs; None is what an Embedder would take.
        revision: branch, tag or commit of a hub id's repository, which holds a bundle. It takes the place of another
            revision's in the cache.
        cache_dir: the cache; see ``cache_home``.
        report: told line by line what is brought; None is the logger ``embedge``.

    Raises:
        PrecisionNotFoundError: what is at that path or on the hub lacks a precision.
        TextValueError: ``revision`` is empty, or ``model`` is no hub id.
        EmbedgeError: as for ``resolve``.
    """
    _check_name(model)
    if revision is not None:
        from embedge.revision import check_hub_id, pull_revision

        name = check_hub_id(model, revision, is_path=is_path(model))
        told = report or _Report(f"{name} at revision {revision}: downloading its bundle")
        return pull_revision(name, revision, cached_path(name, cache_dir), precisions=precisions, report=told)
    if is_path(model):
        found = Bundle.open(model)
        for precision in precisions or ():
            found.pick_precision(precision)
        found.check()
        return found
    name = str(model)
    cached = find_cached(name, cache_dir)
    if cached and set(precisions or ()) <= set(cached.manifest.precisions) and cached.is_whole():
        return cached
    held = cached.manifest.precisions if cached else ()
    wanted = tuple(dict.fromkeys([*held, *(precisions or ())])) or None
    return _bring(name, wanted, cache_dir, False, report)


def _check_name(model: object) -> None:
    if not isinstance(model, str | PathLike):
        raise TextTypeError(f"model must be a name or a path, found {type(model).__name__}")
    if not str(model) or (_NAME.fullmatch(str(model)) and len(str(model)) > _LONGEST_NAME):
        found = f"one of {len(str(model))} characters" if str(model) else "an empty one"
        raise BundleNotFoundError(f"model must be a name or a path, found {found}; `embedge models` lists names")


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
    # Not one from another repository on the hub, whatever that says of itself: their folders have a -- in their names.
    own = (bundle for bundle in cached_bundles(cache_dir) if "--" not in bundle.path.name)
    return next((bundle for bundle in own if bundle.manifest.source.hub_id == name), None)


def open_held(model: str | PathLike[str]) -> Bundle:
    """The bundle at that path, or of that name in the cache as it is; nothing is brought.

    Raises:
        BundleNotFoundError: there is none; names the command that brings it.
        BundleError: what is there cannot be used.
    """
    _check_name(model)
    found = None if is_path(model) else find_cached(str(model), None)
    if found is None and (is_path(model) or Path(model).is_dir()):
        return Bundle.open(model)
    if found is None:
        raise BundleNotFoundError(
            f"no bundle of {str(model)!r} in {cache_home()}; `embedge pull {shlex.quote(str(model))}` brings it, "
            "`embedge info` lists those that are there, or give a bundle's path"
        )
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder that may not be searched
        return False


def _bring(
    name: str,
    precisions: Sequence[str] | None,
    cache_dir: str | PathLike[str] | None,
    local_files_only: bool,
    report: Report | None,
) -> Bundle:
    """Into the cache: from the hub if a bundle is there, else by the exporter if it is installed."""
    failed: HubError | ModuleNotFoundError | None = None
    if "/" in name and not local_files_only and not Path(name).is_dir():
        from embedge.hub import find_snapshot
        from embedge.place import read_commit

        try:
            snapshot = find_snapshot(name, read_commit(cached_path(name, cache_dir)))
        except (HubError, ModuleNotFoundError) as error:  # the exporter may have the checkpoint all the same
            failed = error
        else:
            if MANIFEST in snapshot.files:
                from embedge.pull import pull_bundle

                told = report or _Report(f"{name} is not in the cache yet: downloading its bundle, once")
                return pull_bundle(snapshot, cached_path(name, cache_dir), precisions=precisions, report=told)
    return _export(name, precisions, cache_dir, local_files_only, report, failed)


def _export(
    name: str,
    precisions: Sequence[str] | None,
    cache_dir: str | PathLike[str] | None,
    local_files_only: bool,
    report: Report | None,
    failed: Exception | None,
) -> Bundle:
    """The one place where the runtime calls the exporter, if it is installed. A hub that failed is not asked again."""
    try:
        from embedge_export import export  # noqa: TID251
        from embedge_export.recipe import find_recipe  # noqa: TID251

        # The exporter would take a directory; here "ckpt" is to mean what "./ckpt" does. (A recipe's name is a recipe's
        # wherever the process was started.)
        recipe = find_recipe(name)
        if Path(name).is_dir() and recipe is None:
            return Bundle.open(name)
        from embedge.hub import not_asked_again

        with not_asked_again(failed):
            return export(
                name,
                precisions=precisions or ("int8",),  # type: ignore[arg-type]  # the exporter checks them
                cache_dir=cache_dir,
                # A wheel is another host's.
                local_files_only=local_files_only or (failed is not None and not (recipe and recipe.package)),
                report=report or _Report(f"{name} is not in the cache yet: exporting it, once"),
            )
    except CheckpointError as error:
        reason = failed if isinstance(error.__cause__, HubError) and failed else error
        raise BundleNotFoundError(
            f"no bundle of {name!r} in {cache_home(cache_dir)} and none can be made: {reason}; "
            "or copy a bundle's directory here and give its path"
        ) from error
    except ImportError as error:
        if not isinstance(error, MissingExtraError | ModuleNotFoundError):
            raise
        raise BundleNotFoundError(
            f"no bundle of {name!r} in {cache_home(cache_dir)}{f', and {failed}' if failed else ''}; three ways on: "
            f"(1) `embedge export {shlex.quote(name)}` on a machine with the network makes one, "
            f"(2) copy a bundle's directory here and give its path, "
            f"(3) `pip install 'embedge[export]'` and it is made on first use"
        ) from error


class _Report:
    """Logs what is done for a model, and in front of the first line what it is done for."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __call__(self, line: str) -> None:
        import logging  # 3 ms that a cold start does without

        log = logging.getLogger("embedge")
        if self._title:
            log.info("%s", self._title)
            self._title = ""
        log.info("%s", line)
