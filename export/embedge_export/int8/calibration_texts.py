"""The texts that int8 is calibrated on."""

import hashlib
from os import PathLike
from pathlib import Path

from embedge.bundle.manifest import Calibration
from embedge.bundle.paths import expand
from embedge.errors import InputValueError
from embedge.text_files import open_items
from embedge_export.data import read_lines
from embedge_export.errors import check_unicode, translate_errors

MIN_TEXTS = 32  # with fewer, the smoothing factors follow chance
_LONG_TEXTS = 40  # texts joined from lines of all kinds, so that late positions are seen, too


def calibration_texts(file: str | PathLike[str] | None = None) -> tuple[list[str], Calibration]:
    """Return the texts to calibrate int8 on, and the manifest's record of them.

    Args:
        file: one text on each line, or JSON lines with a "text" if its name ends in .jsonl; empty texts are left out.
            None is the texts that come with the exporter.

    Raises:
        InputValueError: the file cannot be read, or has too few texts.
        InputTypeError: a JSON line has no "text", or one that is not a string.
    """
    if file is None:
        lines = read_lines("calibration.txt")
        texts = [*lines, *(" ".join(lines[start::_LONG_TEXTS]) for start in range(_LONG_TEXTS))]
    else:
        path = expand(file, what="--calibration", error=InputValueError)
        with (
            translate_errors(InputValueError, f"{path} cannot be read", "give --calibration another file"),
            open_items(str(path), option="--calibration") as items,
        ):
            texts = [item.text for item in items if item.text.strip()]
        check_unicode(InputValueError, path.name, what="the --calibration file")
        if len(texts) < MIN_TEXTS:
            raise InputValueError(
                f"{file} has {len(texts)} texts; calibration needs at least {MIN_TEXTS}, better hundreds"
            )
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    name = None if file is None else Path(file).name
    return texts, Calibration(file=name, texts=len(texts), sha256=digest)
