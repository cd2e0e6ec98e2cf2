"""What to type to have a bundle again, or more of it: the last part of errors about bundles."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.errors import BundleError

if TYPE_CHECKING:
    from embedge.bundle.manifest import Manifest


def export_command(manifest: "Manifest", precision: str, *, output: Path | None = None) -> str:
    """The command that makes a bundle's graph as it was made; one that it lacks, as its others were.

    CHECKPOINT stands for a directory of the user's; of a calibration's file, too, only the name is known.

    Args:
        manifest: the bundle's.
        precision: of the graph.
        output: the bundle's directory; None leaves it to the user.
    """
    source, made = manifest.source, manifest.precisions.get(precision)
    exporters = {record.exporter for record in ([made] if made else manifest.precisions.values())}
    fitted_to = made.calibration.file if made and made.calibration else None
    words = ["embedge", "export", source.hub_id or "CHECKPOINT"]
    words += ["--like", source.like] if source.like else []
    words += ["--exporter", "optimum"] if exporters == {"optimum"} else []
    words += ["--calibration", fitted_to] if fitted_to else []
    words += ["-o", str(output)] if output else []
    return shlex.join([*words, "--precision", precision])


def mend(manifest: "Manifest", precision: str, path: Path) -> str:
    """How to have a damaged bundle whole again: from where it came.

    Args:
        manifest: the bundle's.
        precision: of the graph that is damaged, or any that the bundle holds.
        path: the bundle's directory.
    """
    if pull := _pull_command(path):
        return f"`{pull}` brings it again"
    return f"copy the bundle again, or `{export_command(manifest, precision, output=path)}`"


def _pull_command(path: Path) -> str | None:
    """The command that brings a bundle again that was downloaded from the hub into a cache; None for any other."""
    from embedge.bundle.cache_paths import cache_home, cached_path  # only an error needs these
    from embedge.bundle.commit import read_commit

    repository, home = path.name.replace("--", "/", 1), path.parent.parent
    if "/" not in repository or path != cached_path(repository, home) or not read_commit(path):
        return None
    try:
        is_usual = home == cache_home()
    except BundleError:  # EMBEDGE_HOME names none
        is_usual = False
    words = ["embedge", "pull", repository]
    return shlex.join(words if is_usual else ["env", f"EMBEDGE_HOME={home}", *words])
