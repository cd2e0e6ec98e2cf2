"""What an export is to do: checked once, before anything is made."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from embedge.bundle.cache_paths import cached_path
from embedge.bundle.manifest import EXPORTERS, PRECISIONS, Calibration, ExporterName, Precision
from embedge.bundle.precision import check_precision
from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.extras import require_export_extra, require_optimum_extra
from embedge_export.int8.calibration_texts import calibration_texts

# Where graphs to compare with stand in the scratch folder.
TRACED = "traced"
OWN_REFERENCE = "fp32.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What to make of a checkpoint, and where.

    Attributes:
        checkpoint: what is exported.
        destination: the bundle's directory.
        precisions: of the graphs to make.
        exporter: how they are made.
        calibration: the record of the texts that int8 is fitted to; None where the exporter fits none.
        calibration_texts: those texts.
        verify: whether graphs are compared with their reference.
    """

    checkpoint: Checkpoint
    destination: Path
    precisions: tuple[Precision, ...]
    exporter: ExporterName
    calibration: Calibration | None
    calibration_texts: tuple[str, ...]
    verify: bool


def check_types(*, source: object, output: object, like: object, cache_dir: object) -> None:
    """Raises CheckpointError where an option of ``export`` is of a type that it cannot be."""
    places = {"source": source, "output": output, "like": like, "cache_dir": cache_dir}
    for name, value in places.items():
        if not (isinstance(value, str | PathLike) or (value is None and name != "source")):
            raise CheckpointError(f"{name} must be a name or a path, found {type(value).__name__}")
        if isinstance(value, PathLike) and not isinstance(os.fspath(value), str):
            raise CheckpointError(f"{name} must be a path of text, found one of bytes; os.fsdecode makes one")
    if not isinstance(like, str | None):
        raise CheckpointError(f"like must be a recipe's name, found {type(like).__name__}")


def check_choices(
    precisions: Sequence[str], exporter: str, calibration: str | PathLike[str] | None
) -> tuple[Calibration | None, tuple[str, ...]]:
    """The texts that int8 will be fitted to, and their record, once the choices are found to make sense.

    Raises:
        CheckpointError: no precision, an unknown exporter, or a calibration that nothing would use.
        MissingExtraError: a package that the exporter needs is not installed.
        InputValueError: an unknown precision; or the calibration file cannot be read, or has too few texts.
    """
    require_export_extra()
    if isinstance(precisions, str) or not isinstance(precisions, Sequence):
        raise CheckpointError(f"precisions must be a list such as ['int8'], found {precisions!r}")
    if calibration is not None and not isinstance(calibration, str | PathLike):
        raise CheckpointError(f"calibration must be a path, found {calibration!r}")
    if not len(precisions):
        raise CheckpointError(f"precisions must be some of {', '.join(PRECISIONS)}, found none")
    for name in precisions:
        check_precision(name)
    if not isinstance(exporter, str) or exporter not in EXPORTERS:
        raise CheckpointError(f"exporter must be {' or '.join(EXPORTERS)}, found {exporter!r}")
    if exporter == "optimum":
        require_optimum_extra()
    if calibration is not None and (exporter != "native" or "int8" not in precisions):
        raise CheckpointError(
            f"nothing here is calibrated by {calibration}: only native int8 is; leave --calibration out, "
            "or export --precision int8"
        )
    if exporter != "native":
        return None, ()
    texts, record = calibration_texts(calibration)
    return record, tuple(texts)


def cache_place(checkpoint: Checkpoint, cache: Path) -> Path:
    """By recipe's name or hub id; a directory's by name and weights' hash, so that no fine-tune passes for another."""
    name = checkpoint.fetched.name
    if checkpoint.fetched.hub_id is None:
        plain = re.sub(r"[^\w.]+", "-", name).strip("-.") or "checkpoint"
        name = f"{plain}-{checkpoint.sha256[:8]}"
    return cached_path(name, cache)
