"""The texts that the project ships: passages and questions, which the demo and verify use, and what calibrates int8."""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path

from embedge.errors import TextValueError
from embedge.items import open_items
from embedge.manifest import Calibration
from embedge.paths import expand
from embedge_export.borders import check_unicode, ours
from embedge_export.calibrate import FEWEST_TEXTS

_LONG = 40  # texts joined from lines of all kinds, beside the lines themselves, so that late positions are seen


@dataclass(frozen=True, slots=True)
class Passage:
    """A short text and its title."""

    id: str
    title: str
    text: str

    @property
    def joined(self) -> str:
        """Title and text, as they are embedded."""
        return f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the id of the passage that answers it."""

    id: str
    text: str
    answer: str


def passages() -> list[Passage]:
    """All passages, six on each of ten topics."""
    return [Passage(**json.loads(line)) for line in _lines("passages.jsonl")]


def questions() -> list[Question]:
    """One question for each passage."""
    return [Question(**json.loads(line)) for line in _lines("queries.jsonl")]


def calibration_texts(file: str | PathLike[str] | None = None) -> tuple[list[str], Calibration]:
    """The texts that int8 is fitted to: those that come with the exporter, or a file's, one on each line.

    Args:
        file: lines of text, or JSON lines with a "text" where its name ends in .jsonl.

    Returns:
        The texts that are not empty, and the record of them.

    Raises:
        TextValueError: the file cannot be read, or has too few.
        TextTypeError: a JSON line has no "text" that is a string.
    """
    if file is None:
        lines = _lines("calibration.txt")
        texts = [*lines, *(" ".join(lines[start::_LONG]) for start in range(_LONG))]
    else:
        path = expand(file, what="--calibration", error=TextValueError)
        with (
            ours(TextValueError, f"{path} cannot be read", "give --calibration another file"),
            open_items(str(path), option="--calibration") as items,
        ):
            texts = [item.text for item in items if item.text.strip()]
        check_unicode(TextValueError, path.name, what="the --calibration file")
        if len(texts) < FEWEST_TEXTS:
            raise TextValueError(
                f"{file} has {len(texts)} texts; calibration needs at least {FEWEST_TEXTS}, better hundreds"
            )
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    name = None if file is None else Path(file).name
    return texts, Calibration(file=name, texts=len(texts), sha256=digest)


def _lines(name: str) -> list[str]:
    text = (files("embedge_export") / "data" / name).read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]
