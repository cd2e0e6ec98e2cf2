"""resolve(): a model's name, hub id or path -> its bundle."""

import shlex
from collections.abc import Sequence
from os import PathLike

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision
from embedge.bundle.precision import check_precision, pick_precision
from embedge.hub.cache import check_name, find_cached, is_path


def resolve(
    model: str | PathLike[str],
    *,
    precision: str | None = None,
    preferred: Sequence[Precision] | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Bundle:
    """Return the bundle of a model: from that path or the cache. The first use of a name puts its bundle in the cache.

    A download or an export logs each step to the logger ``embedge`` at level INFO. A cached bundle is used as it is:
    the hub is not asked for a newer one. Only if it holds none of ``preferred``, one of them is added to it. A bundle
    at a path is never written to.

    Args:
        model: path of a bundle, recipe's name (``bge-small-en-v1.5``) or hub id (``BAAI/bge-small-en-v1.5``).
        precision: the precision of the graph to obtain if there is no bundle yet; None is int8, or the first of
            ``preferred`` that can be had.
        preferred: the precisions that the caller's device runs, the best one first; None is all of them. Not used with
            ``precision``.
        cache_dir: the cache; see ``cache_home``.
        local_files_only: do not use the network.

    Raises:
        BundleNotFoundError: there is no bundle and none can be obtained; the message says what you can do.
        BundleError: the bundle cannot be used.
        PrecisionNotFoundError: none of ``preferred`` can be had; the message has the command to type.
        HubError: the hub has the bundle, but the download fails.
        InputTypeError: ``model`` is neither a string nor a path.
    """
    if precision is not None:
        check_precision(precision)
    check_name(model)
    if is_path(model):
        return Bundle.open(model)
    name = str(model)
    cached = find_cached(name, cache_dir)
    wanted = () if precision is not None or preferred is None else preferred
    if cached is None or (wanted and not any(one in cached.manifest.precisions for one in wanted)):
        from embedge.hub.obtain import Request, obtain  # a cached bundle needs none of its imports

        precisions = (precision,) if precision else None
        return obtain(Request(name, precisions, cache_dir, local_files_only, preferred=wanted, adds_to=cached))
    if precision is not None:
        command = f"embedge pull {shlex.quote(name)} --precision {precision}"
        pick_precision(cached.manifest, precision, where=str(cached.path), command=lambda _: command)
    return cached
