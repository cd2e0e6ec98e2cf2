"""A model's name, hub id or path to its bundle; and where the cache is."""

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
        InputTypeError: ``model`` is neither a string nor a path.
    """
    check_name(model)
    if is_path(model):
        return Bundle.open(model)
    name = str(model)
    found = find_cached(name, cache_dir)
    if found is None:
        from embedge.hub.obtain import bring  # much that a cached bundle does without

        return bring(
            name,
            None if precision is None else (check_precision(precision),),
            cache_dir,
            local_files_only=local_files_only,
        )
    if precision is not None:
        pull = f"embedge pull {shlex.quote(name)} --precision {precision}"
        pick_precision(found.manifest, precision, where=str(found.path), command=lambda _: pull)
    return found
