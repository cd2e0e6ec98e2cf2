"""The sixty short passages that the project ships: what the demo searches and what verify embeds."""

import json
from dataclasses import dataclass
from importlib.resources import files


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


def passages() -> list[Passage]:
    """All passages, six on each of ten topics."""
    lines = (files("embedge_export") / "data" / "passages.jsonl").read_text(encoding="utf-8").splitlines()
    return [Passage(**json.loads(line)) for line in lines if line]
