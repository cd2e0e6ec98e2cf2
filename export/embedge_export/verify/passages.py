"""The passages and questions that come with the exporter: the demo searches them, and verify measures quality on them.

int8 is never calibrated on them, because its quality is measured on them.
"""

import json
from dataclasses import dataclass

from embedge_export.data import read_lines


@dataclass(frozen=True, slots=True)
class Passage:
    """A short text with a title."""

    id: str
    title: str
    text: str

    @property
    def joined(self) -> str:
        """The title and the text, as one string to embed."""
        return f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the id of the passage that answers it."""

    id: str
    text: str
    answer: str


def passages() -> list[Passage]:
    """Return all passages: six on each of ten topics."""
    return [Passage(**json.loads(line)) for line in read_lines("passages.jsonl")]


def questions() -> list[Question]:
    """Return one question for each passage, in the order of the passages."""
    return [Question(**json.loads(line)) for line in read_lines("queries.jsonl")]


def documents() -> list[str]:
    """Return the documents that verify embeds: the passages, one long text, and unusual strings."""
    plain = [passage.joined for passage in passages()]
    return [*plain, " ".join(plain[:8]), "", "hello world", "naïve café — 東京 🚲", "a" * 300]
