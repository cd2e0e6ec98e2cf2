"""resolve(): a model's name, hub id or path -> its bundle."""

import shlex
from os import PathLike

from embedge.bundle.directory import Bundle
from embedge.bundle.precision import check_precision, pick_precision
from embedge.hub.cache import check_name, find_cached, is_path


def resolve(
    model: str | PathLike[str],
    *,
    precision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Bundle:
    """Return the bundle of a model: from that path or the cache. The first use of a name puts its bundle in the cache.

    A download or an export logs each step to the logger ``embedge`` at level INFO. A cached bundle is used as it is:
    the hub is not asked for a newer one.

    Args:
        model: path of a bundle, recipe's name (``bge-small-en-v1.5``) or hub id (``BAAI/bge-small-en-v1.5``).
        precision: the precision of the graph to obtain if there is no bundle yet; None is int8.
        cache_dir: the cache; see ``cache_home``.
        local_files_only: do not use the network.

    Raises:
        BundleNotFoundError: there is no bundle and none can be obtained; the message says what you can do.
        BundleError: the bundle cannot be used.
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
    if cached is None:
        from embedge.hub.obtain import Request, obtain  # a cached bundle needs none of its imports

        return obtain(Request(name, (precision,) if precision else None, cache_dir, local_files_only))
    if precision is not None:
        command = f"embedge pull {shlex.quote(name)} --precision {precision}"
        pick_precision(cached.manifest, precision, where=str(cached.path), command=lambda _: command)
    return cached
