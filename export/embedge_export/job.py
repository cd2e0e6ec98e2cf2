"""The job of an export: its options, checked once before any work begins."""

import os
import re
import shlex
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

TRACED = "traced"  # the folder of optimum's traced graph in the scratch folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What to make from a checkpoint, and where.

    Attributes:
        checkpoint: the checkpoint to export.
        destination: the bundle's directory.
        precisions: the precisions to make.
        exporter: ``"native"`` or ``"optimum"``.
        calibration: the record of the texts that int8 is fitted to; None if the exporter does not calibrate.
        calibration_texts: these texts.
        verify: whether graphs are compared with their reference.
        accept_quality: whether to write the bundle even if its quality is below its floor.
        command: the command that repeats this export.
    """

    checkpoint: Checkpoint
    destination: Path
    precisions: tuple[Precision, ...]
    exporter: ExporterName
    calibration: Calibration | None
    calibration_texts: tuple[str, ...]
    verify: bool
    accept_quality: bool = False
    command: str = "embedge export"


def command_of(
    source: str | PathLike[str],
    output: str | PathLike[str] | None,
    *,
    precisions: Sequence[str],
    exporter: str,
    force: bool,
    like: str | None,
    calibration: str | PathLike[str] | None,
    cache_dir: str | PathLike[str] | None = None,
) -> str:
    """Return the command of an export with these options, which are those of ``export``.

    >>> options = {"exporter": "native", "force": False, "like": None, "calibration": None}
    >>> command_of("my model", "b", precisions=["int8", "fp32"], **options)
    "embedge export 'my model' -o b --precision int8 --precision fp32"
    """
    words = ["embedge", "export", os.fspath(source)]
    named = (("-o", output), ("--like", like), ("--calibration", calibration))
    words += [word for option, value in named if value is not None for word in (option, os.fspath(value))]
    if list(precisions) != ["int8"]:
        words += [word for precision in precisions for word in ("--precision", precision)]
    words += ["--exporter", exporter] if exporter != "native" else []
    words += ["--force"] if force else []
    home = f"EMBEDGE_HOME={shlex.quote(os.fspath(cache_dir))} " if cache_dir is not None and output is None else ""
    return home + shlex.join(words)


def check_types(*, source: object, output: object, like: object, cache_dir: object) -> None:
    """Raise CheckpointError if an option of ``export`` has the wrong type."""
    places = {"source": source, "output": output, "like": like, "cache_dir": cache_dir}
    for name, value in places.items():
        if not (isinstance(value, str | PathLike) or (value is None and name != "source")):
            raise CheckpointError(f"{name} must be a name or a path, found {type(value).__name__}")
        if isinstance(value, PathLike) and not isinstance(os.fspath(value), str):
            raise CheckpointError(f"{name} must be a path of text, found one of bytes; convert it with os.fsdecode")
    if not isinstance(like, str | None):
        raise CheckpointError(f"like must be a recipe's name, found {type(like).__name__}")


def check_choices(precisions: Sequence[str], exporter: str, calibration: str | PathLike[str] | None) -> None:
    """Check that the options name known values, fit together and find their packages installed.

    Raises:
        CheckpointError: no precision is given, the exporter is unknown, or nothing would use the calibration file.
        InputValueError: a precision is unknown.
        MissingExtraError: a package that the exporter needs is not installed.
    """
    require_export_extra()
    _check_precisions(precisions)
    if calibration is not None and not isinstance(calibration, str | PathLike):
        raise CheckpointError(f"calibration must be a path, found {calibration!r}")
    if not isinstance(exporter, str) or exporter not in EXPORTERS:
        raise CheckpointError(f"exporter must be {' or '.join(EXPORTERS)}, found {exporter!r}")
    if exporter == "optimum":
        require_optimum_extra()
    if calibration is not None and (exporter != "native" or "int8" not in precisions):
        raise CheckpointError(
            f"this export does not use --calibration {calibration}: only int8 of the native exporter does; leave "
            "--calibration out, or export --precision int8"
        )


def check_acceptance(*, verify: bool, accept_quality: bool) -> None:
    """Raise CheckpointError if a quality is accepted that nobody measures."""
    if accept_quality and not verify:
        raise CheckpointError(
            "--accept-quality accepts what is measured, and --no-verify measures nothing; leave one of them out"
        )


def _check_precisions(precisions: Sequence[str]) -> None:
    if isinstance(precisions, str) or not isinstance(precisions, Sequence):
        raise CheckpointError(f"precisions must be a list such as ['int8'], found {precisions!r}")
    if not len(precisions):
        raise CheckpointError(f"precisions must be some of {', '.join(PRECISIONS)}, found none")
    for name in precisions:
        check_precision(name)


def load_calibration(
    exporter: str, calibration: str | PathLike[str] | None
) -> tuple[Calibration | None, tuple[str, ...]]:
    """Return the record of the calibration texts, and the texts; None and no texts for optimum, which uses none.

    Raises:
        InputValueError: the calibration file cannot be read, or has too few texts.
    """
    if exporter != "native":
        return None, ()
    texts, record = calibration_texts(calibration)
    return record, tuple(texts)


def cache_destination(checkpoint: Checkpoint, cache: Path) -> Path:
    """Return the place of a checkpoint's bundle in the cache, named after its recipe or hub id.

    The name of a local directory gets the first 8 digits of the checkpoint's hash: two fine-tunes in directories of the
    same name then have two places.
    """
    name = checkpoint.fetched.name
    if checkpoint.fetched.hub_id is None:
        plain = re.sub(r"[^\w.]+", "-", name).strip("-.") or "checkpoint"
        name = f"{plain}-{checkpoint.sha256[:8]}"
    return cached_path(name, cache)
