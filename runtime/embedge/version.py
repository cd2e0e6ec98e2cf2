"""The version, for the code and, by pyproject.toml, for the package."""

__version__ = "0.1.0"
