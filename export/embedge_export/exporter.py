"""The exporter as the runtime sees it: ``embedge.hub.exporter.Exporter``, registered as an entry point.

Nothing here imports onnx before a function is called, so that the runtime gets an error that names the extra.
"""

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import cast

from embedge.bundle.cache_paths import cache_home
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Precision, Quality
from embedge_export.checkpoint.recipe import find_recipe
from embedge_export.extras import require_export_extra


def knows(name: str) -> bool:
    """Whether there is a recipe with this name or hub id."""
    return find_recipe(name) is not None


def export(
    name: str,
    *,
    precisions: Sequence[str],
    cache_dir: str | PathLike[str] | None,
    local_files_only: bool,
    hub_failure: Exception | None,
) -> Bundle:
    """Export a model into the cache and return its bundle. See ``embedge.hub.exporter.Exporter``."""
    require_export_extra()
    from embedge_export import pipeline

    return pipeline.export(
        name,
        precisions=cast(Sequence[Precision], precisions),  # checked there
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        hub_failure=hub_failure,
    )


def compare(
    bundle: Bundle, *, checkpoint: str | None, optimum: bool = False
) -> Iterator[tuple[Precision, Quality | None]]:
    """Compare the vectors of each precision with a reference. See ``embedge.hub.exporter.Exporter``."""
    require_export_extra()
    from embedge_export.verify.checks import verify_bundle

    return verify_bundle(bundle, checkpoint=checkpoint, cache=cache_home(), traced=optimum)


def compare_fused(bundle: Bundle) -> Quality | None:
    """Compare the fused int8 graph of a bundle with its plain one. See ``embedge.hub.exporter.Exporter``."""
    require_export_extra()
    from embedge_export.verify.checks import verify_fused

    return verify_fused(bundle)
