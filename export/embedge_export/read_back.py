"""A new bundle as whoever loads it will find it, read back from the disk before it replaces another."""

from collections.abc import Iterable

from embedge import Embedder, Reranker
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision
from embedge.errors import BundleError, EmbedgeError


def read_back(written: Bundle, *, load: Iterable[Precision]) -> Bundle:
    """The bundle, every file of which was checked, and of which these precisions load.

    Raises:
        BundleError: its manifest or a file is not what was written, or it does not load.
    """
    found = reopen(written)
    kind = Embedder if found.manifest.task == "embed" else Reranker
    try:
        found.check()
        for precision in load:
            kind(found.path, precision=precision)
    except EmbedgeError as error:
        raise _unusable(error) from error
    return found


def reopen(written: Bundle) -> Bundle:
    """The bundle with its manifest read back.

    Raises:
        BundleError: it is not what was written, or none that can be used.
    """
    try:
        found = Bundle.open(written.path)
    except BundleError as error:
        raise _unusable(error) from error
    if found.manifest != written.manifest:
        raise _unusable("its manifest says something else than was written")
    return found


def _unusable(reason: object) -> BundleError:
    return BundleError(
        f"the new bundle cannot be used ({reason}), so nothing was replaced; mend what this names in the checkpoint's "
        "config files, or report it with `embedge info`"
    )
