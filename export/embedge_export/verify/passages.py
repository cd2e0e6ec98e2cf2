"""The texts that the project ships: passages and questions, which the demo and verify use, and what calibrates int8."""

import json
from dataclasses import dataclass

from embedge_export.data import read_lines


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
    return [Passage(**json.loads(line)) for line in read_lines("passages.jsonl")]


def questions() -> list[Question]:
    """One question for each passage."""
    return [Question(**json.loads(line)) for line in read_lines("queries.jsonl")]
