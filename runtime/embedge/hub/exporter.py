"""What the runtime needs of an exporter, and how it loads the installed one.

The runtime imports no exporter. A package that can export registers a module or an object with the functions of
``Exporter`` as an entry point of the group ``embedge.exporters``. The wheel of embedge registers its own exporter
under the name ``embedge``; it works if the extra ``export`` is installed.
"""

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Protocol, cast

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision, Quality
from embedge.errors import MissingExtraError

_GROUP = "embedge.exporters"
_OWN = "embedge"


class Exporter(Protocol):
    """Makes bundles of checkpoints. Each function may raise MissingExtraError if it needs a package that is missing."""

    def knows(self, name: str) -> bool:
        """Whether there is a recipe with this name or hub id."""

    def export(
        self,
        name: str,
        *,
        precisions: Sequence[str],
        cache_dir: str | PathLike[str] | None,
        local_files_only: bool,
        hub_failure: Exception | None,
    ) -> Bundle:
        """Export a model into the cache and return its bundle.

        Args:
            name: the name of a recipe, or a hub id.
            precisions: the precisions of the graphs to make.
            cache_dir: the cache; see ``cache_home``.
            local_files_only: do not use the network.
            hub_failure: the error with which the hub has just failed. The hub must not be asked again.

        Raises:
            CheckpointError: the checkpoint cannot be found, read or exported. Its cause is a HubError if the hub has
                failed and the checkpoint is nowhere else.
        """

    def compare(
        self, bundle: Bundle, *, checkpoint: str | None, optimum: bool = False
    ) -> Iterator[tuple[Precision, Quality | None]]:
        """Compare the vectors of each precision with a reference.

        Args:
            bundle: the bundle; its files have been checked.
            checkpoint: directory of the checkpoint that the bundle was exported from; None searches this machine.
            optimum: compare with optimum's trace of the checkpoint.

        Yields:
            A precision and its quality. The quality is None if there is no reference.

        Raises:
            QualityError: the vectors are too far from the reference's.
        """

    def compare_fused(self, bundle: Bundle) -> Quality | None:
        """Compare the fused int8 graph of a bundle with its plain one; return None if the bundle has none.

        Raises:
            QualityError: the vectors are too far from the plain graph's.
        """


def load_exporter() -> Exporter:
    """Load the registered exporter: the one with the name ``embedge``, else the first by name.

    embedge's own comes first so that a package that you install for another reason does not change what you export.
    The scan of all installed packages takes some 30 ms, so only call this when there is no bundle yet.

    Raises:
        MissingExtraError: no exporter is registered, as in a source tree that pip has not installed, or a package that
            it imports is missing.
    """
    from importlib.metadata import entry_points  # imported here: it takes 10 ms, and a download does not need it

    points = entry_points(group=_GROUP)
    if not points:
        raise MissingExtraError(
            f"no exporter is registered in the entry-point group {_GROUP}, as in a source tree before "
            "`pip install -e .`; run `pip install 'embedge[export]'`"
        )
    point = min(points, key=lambda point: (point.name != _OWN, point.name))
    try:
        return cast(Exporter, point.load())
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; run `pip install 'embedge[export]'`") from error
