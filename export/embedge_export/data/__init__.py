"""The texts that come with the exporter."""

from importlib.resources import files


def read_lines(name: str) -> list[str]:
    """Return the lines of a file in this package; empty lines are left out."""
    text = (files("embedge_export.data") / name).read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]
