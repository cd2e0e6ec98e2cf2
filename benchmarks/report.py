"""Rows as an aligned table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluate import Score
from machine import Machine

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_COLUMNS = ("encoder", "MB", "STS-B", "nDCG@10", "recall@100", "cosine mean", "cosine min")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run.

    Attributes:
        model: the checkpoint's name.
        origin: where it came from.
        max_tokens: what the texts were cut to.
        baseline: the row that cosines are to.
        scores: rows by name, in order.
        about: how each encoder was made, by name.
        left_out: rows that are not there, by name, and why.
        machine: where it was measured.
    """

    model: str
    origin: str
    max_tokens: int
    baseline: str
    scores: Mapping[str, Score]
    about: Mapping[str, str]
    left_out: Mapping[str, str]
    machine: Machine


def table(scores: Mapping[str, Score]) -> str:
    """An aligned table that is also Markdown."""
    return align([_COLUMNS, *(_cells(name, score) for name, score in scores.items())])


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells, the first the header, as an aligned table that is also Markdown."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    dashes = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], _line(dashes, widths), *lines[1:]])


def _cells(name: str, score: Score) -> tuple[str, ...]:
    points = (score.stsb_spearman, score.cranfield_ndcg_10, score.cranfield_recall_100)
    return (
        name,
        f"{score.size / 1e6:.1f}",
        *(f"{value:.2f}" for value in points),
        f"{score.cosine_mean:.5f}",
        f"{score.cosine_min:.4f}",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Text to the left, numbers to the right."""
    padded = [
        cells[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"


def write_json(result: "DataclassInstance", path: Path) -> None:
    """Everything about a run, numbers unrounded."""
    path.write_text(json.dumps(asdict(result), indent=2, allow_nan=False) + "\n", encoding="utf-8")
