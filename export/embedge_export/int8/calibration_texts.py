"""The texts that int8 is fitted to."""

import hashlib
from os import PathLike
from pathlib import Path

from embedge.bundle.manifest import Calibration
from embedge.bundle.paths import expand
from embedge.errors import InputValueError
from embedge.text_files import open_items
from embedge_export.data import read_lines
from embedge_export.errors import check_unicode, translate_errors

FEWEST_TEXTS = 32  # below, a smoothing scale is fitted to chance
_LONG = 40  # texts joined from lines of all kinds, beside the lines themselves, so that late positions are seen


def calibration_texts(file: str | PathLike[str] | None = None) -> tuple[list[str], Calibration]:
    """The texts that int8 is fitted to: those that come with the exporter, or a file's, one on each line.

    Args:
        file: lines of text, or JSON lines with a "text" where its name ends in .jsonl.

    Returns:
        The texts that are not empty, and the record of them.

    Raises:
        InputValueError: the file cannot be read, or has too few.
        InputTypeError: a JSON line has no "text" that is a string.
    """
    if file is None:
        lines = read_lines("calibration.txt")
        texts = [*lines, *(" ".join(lines[start::_LONG]) for start in range(_LONG))]
    else:
        path = expand(file, what="--calibration", error=InputValueError)
        with (
            translate_errors(InputValueError, f"{path} cannot be read", "give --calibration another file"),
            open_items(str(path), option="--calibration") as items,
        ):
            texts = [item.text for item in items if item.text.strip()]
        check_unicode(InputValueError, path.name, what="the --calibration file")
        if len(texts) < FEWEST_TEXTS:
            raise InputValueError(
                f"{file} has {len(texts)} texts; calibration needs at least {FEWEST_TEXTS}, better hundreds"
            )
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    name = None if file is None else Path(file).name
    return texts, Calibration(file=name, texts=len(texts), sha256=digest)
