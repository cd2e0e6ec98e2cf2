"""The recipes: one TOML file per supported checkpoint, named after it.

``embedge_export.checkpoint.recipe`` gives them types.
"""

import tomllib
from importlib.resources import files
from typing import Any


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, sorted."""
    names = (file.name for file in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def read_recipe(name: str) -> dict[str, Any]:
    """The TOML of a recipe as plain values.

    Raises:
        FileNotFoundError: there is no recipe of that name.
    """
    return tomllib.loads((files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
