"""pull(): a model's bundle in the cache, checked and complete."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from embedge.bundle.cache_paths import cached_path
from embedge.bundle.directory import Bundle
from embedge.bundle.paths import is_dir
from embedge.bundle.precision import check_precision
from embedge.errors import InputTypeError, InputValueError
from embedge.hub.cache import check_name, find_cached, is_path
from embedge.hub.download import download_revision
from embedge.hub.obtain import Request, obtain


def pull(
    model: str | PathLike[str],
    *,
    precisions: Sequence[str] | None = None,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
) -> Bundle:
    """Return a model's bundle with these precisions, from that path or the cache, after every hash was checked.

    If the bundle in the cache is incomplete or damaged, what is missing or damaged is obtained. A downloaded bundle
    stays at its commit.

    Args:
        model: as for ``resolve``.
        precisions: the precisions of the graphs; None is the one that an Embedder would load.
        revision: branch, tag or commit of a hub id's repository that holds a bundle. It replaces a bundle of another
            revision in the cache.
        cache_dir: the cache; see ``cache_home``.

    Raises:
        PrecisionNotFoundError: the bundle at that path or on the hub lacks a precision.
        InputValueError: ``revision`` is empty, or ``model`` is no hub id.
        EmbedgeError: as for ``resolve``.
    """
    check_name(model)
    for precision in precisions or ():
        check_precision(precision)
    if revision is not None:
        hub_id = _check_revision(model, revision)
        return download_revision(hub_id, revision, cached_path(hub_id, cache_dir), precisions=precisions)
    if is_path(model):
        return _checked(Bundle.open(model), precisions)
    cached = find_cached(str(model), cache_dir)
    present = cached.manifest.precisions if cached else {}
    if cached and set(precisions or ()) <= set(present) and cached.is_whole():
        return cached
    wanted = tuple(dict.fromkeys([*present, *(precisions or ())])) or None
    return obtain(Request(str(model), wanted, cache_dir))


def _checked(bundle: Bundle, precisions: Sequence[str] | None) -> Bundle:
    for precision in precisions or ():
        bundle.pick_precision(precision)
    bundle.check()
    return bundle


def _check_revision(model: str | PathLike[str], revision: object) -> str:
    """Return the hub id of which a revision was asked for.

    Raises:
        InputTypeError: the revision is no string.
        InputValueError: it is empty, or ``model`` is a path or a recipe's name.
    """
    if not isinstance(revision, str):
        raise InputTypeError(f"revision must be a string, found {type(revision).__name__}")
    if not revision:
        raise InputValueError("revision is empty; give a branch, tag or commit, or leave it out")
    name = str(model)
    if is_path(model) or is_dir(Path(model)):
        raise InputValueError(f"revision needs a hub id (organisation/name), found a path, {name}; leave it out")
    if "/" not in name:
        raise InputValueError(
            f"revision needs a hub id (organisation/name), found a name, {name}; leave it out, because a recipe "
            "has a fixed commit"
        )
    return name
