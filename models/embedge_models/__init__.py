"""The recipes of the supported models: one TOML file for each, named after the model.

``models/README.md`` describes the format. ``embedge_export.checkpoint.recipe`` reads recipes into dataclasses and
checks them.
"""

import tomllib
from importlib.resources import files
from typing import Any


def recipe_names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    names = (file.name for file in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def read_recipe(name: str) -> dict[str, Any]:
    """Return the values of a recipe's TOML file, unchecked.

    Raises:
        FileNotFoundError: there is no recipe with this name.
    """
    return tomllib.loads((files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
