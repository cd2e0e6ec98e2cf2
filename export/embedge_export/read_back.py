"""Reads a new bundle back from the disk, before it replaces an old one."""

from collections.abc import Iterable

from embedge import Embedder, Reranker
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision
from embedge.errors import BundleError, EmbedgeError


def read_back(written: Bundle, *, load: Iterable[Precision]) -> Bundle:
    """Return the bundle as it is on disk, after a check of every file and a load of the given precisions.

    Raises:
        BundleError: the manifest or a file differs from what was written, or a precision does not load.
    """
    bundle = reopen(written)
    kind = Embedder if bundle.manifest.task == "embed" else Reranker
    try:
        bundle.check()
        for precision in load:
            kind(bundle.path, precision=precision, kernels=False)  # the graph that every machine can run
    except EmbedgeError as error:
        raise _unusable(error) from error
    return bundle


def reopen(written: Bundle) -> Bundle:
    """Return the bundle with its manifest read from the disk.

    Raises:
        BundleError: the manifest is not valid, or differs from what was written.
    """
    try:
        bundle = Bundle.open(written.path)
    except BundleError as error:
        raise _unusable(error) from error
    if bundle.manifest != written.manifest:
        raise _unusable("its manifest differs from what was written")
    return bundle


def _unusable(reason: object) -> BundleError:
    return BundleError(
        f"the new bundle cannot be used ({reason}), so nothing was replaced; correct what this names in the "
        "checkpoint's config files, or report it with the output of `embedge info`"
    )
