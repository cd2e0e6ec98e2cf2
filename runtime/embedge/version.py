"""The version of embedge. pyproject.toml reads the package's version from this file."""

__version__ = "0.1.0"
