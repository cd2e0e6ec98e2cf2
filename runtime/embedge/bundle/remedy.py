"""The commands that repair a bundle or add a precision to it: the last part of errors about bundles."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.errors import BundleError

if TYPE_CHECKING:
    from embedge.bundle.manifest import Manifest


def export_command(manifest: "Manifest", precision: str, *, output: Path | None = None, optimum: bool = False) -> str:
    """Return the command that exports a graph again, with the options that it was exported with.

    For a precision that the bundle lacks, the command has the options of the bundle's other graphs.

    CHECKPOINT stands for the directory of a checkpoint that has no hub id. The manifest records only the names of
    directories and calibration files, not their paths.

    Args:
        manifest: the bundle's.
        precision: the precision of the graph.
        output: the bundle's directory; None leaves out the option.
        optimum: use optimum's exporter, whichever made the bundle.
    """
    source, record = manifest.source, manifest.precisions.get(precision)
    exporters = {graph.exporter for graph in ([record] if record else manifest.precisions.values())}
    calibration = record.calibration.file if record and record.calibration else None
    words = ["embedge", "export", source.hub_id or "CHECKPOINT"]
    words += ["--like", source.like] if source.like else []
    words += ["--exporter", "optimum"] if optimum or exporters == {"optimum"} else []
    words += ["--calibration", calibration] if calibration else []
    words += ["-o", str(output)] if output else []
    return shlex.join([*words, "--precision", precision])


def how_to_repair(manifest: "Manifest", precision: str, path: Path) -> str:
    """Return the advice for a damaged bundle: the command that downloads or exports it again.

    Args:
        manifest: the bundle's.
        precision: the precision of the damaged graph; any precision of the bundle if another file is damaged.
        path: the bundle's directory.
    """
    if pull := _pull_command(path):
        return f"run `{pull}` to download it again"
    return f"copy the bundle again, or run `{export_command(manifest, precision, output=path)}`"


def adding_command(manifest: "Manifest", precision: str, path: Path) -> str:
    """Return the command that adds a precision to a bundle in the cache: by downloading or exporting it.

    Args:
        manifest: the bundle's.
        precision: the precision of the graph that the bundle lacks.
        path: the bundle's directory.
    """
    if pull := _pull_command(path):
        return f"{pull} --precision {precision}"
    # Of a checkpoint on the hub, an export finds the place by itself.
    return export_command(manifest, precision, output=None if manifest.source.hub_id and _is_cached(path) else path)


def _pull_command(path: Path) -> str | None:
    """The command that downloads a bundle again; None for a bundle that was not downloaded into a cache."""
    from embedge.bundle.cache_paths import cached_path  # only errors need these
    from embedge.bundle.commit import read_commit

    repository, home = path.name.replace("--", "/", 1), path.parent.parent
    if "/" not in repository or path != cached_path(repository, home) or not read_commit(path):
        return None
    words = ["embedge", "pull", repository]
    return shlex.join(words if _is_cached(path) else ["env", f"EMBEDGE_HOME={home}", *words])


def _is_cached(path: Path) -> bool:
    """Whether a bundle is in the cache that the command uses."""
    from embedge.bundle.cache_paths import cache_home

    try:
        return path.parent.parent == cache_home()
    except BundleError:  # EMBEDGE_HOME is not a valid path
        return False
