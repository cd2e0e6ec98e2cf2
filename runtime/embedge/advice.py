"""What to type to have a bundle again, or more of it: the last part of errors about bundles."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedge.bundle import Manifest


def export_command(manifest: "Manifest", precision: str, *, output: Path | None = None, force: bool = False) -> str:
    """The command that makes a bundle's graph as it was made; one that it lacks, as its others were.

    CHECKPOINT stands for a directory of the user's; of a calibration's file, too, only the name is known.

    Args:
        manifest: the bundle's.
        precision: of the graph.
        output: the bundle's directory; None leaves it to the user.
        force: make anew what is there.
    """
    source, made = manifest.source, manifest.precisions.get(precision)
    exporters = {record.exporter for record in ([made] if made else manifest.precisions.values())}
    fitted_to = made.calibration.file if made and made.calibration else None
    words = ["embedge", "export", source.hub_id or "CHECKPOINT"]
    words += ["--like", source.like] if source.like else []
    words += ["--exporter", "optimum"] if exporters == {"optimum"} else []
    words += ["--calibration", fitted_to] if fitted_to else []
    words += ["-o", str(output)] if output else []
    return shlex.join([*words, "--precision", precision, *(["--force"] if force else [])])
