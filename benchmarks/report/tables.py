"""Aligned tables that are also Markdown, and results as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def align(rows: Sequence[Sequence[str]]) -> str:
    """An aligned Markdown table. The first row is the header; all rows have the same number of cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    dashes = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], _line(dashes, widths), *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The first cell is text, on the left; the others are numbers, on the right."""
    padded = [
        cells[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"


def write_json(result: "DataclassInstance", path: Path) -> None:
    """Write a whole result, with numbers unrounded."""
    path.write_text(json.dumps(asdict(result), indent=2, allow_nan=False) + "\n", encoding="utf-8")
