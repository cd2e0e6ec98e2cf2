"""The texts that the exporter ships."""

from importlib.resources import files


def read_lines(name: str) -> list[str]:
    """The lines of one of these files that are not empty."""
    text = (files("embedge_export.data") / name).read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line]
