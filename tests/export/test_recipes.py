"""The recipes are whole, and every field is one that is known."""

import re
from dataclasses import fields

import pytest

from embedge import CheckpointError
from embedge_export.recipe import Recipe, find_recipe, load_recipe, recipes
from embedge_models import read_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert set(read_recipe(name)) <= {field.name for field in fields(Recipe)}
    assert re.fullmatch("[0-9a-f]{40}", recipe.hub.revision)
    assert recipe.hub.id.endswith(f"/{name}")
    assert recipe.scores
    assert all(score.source.startswith("https://") and 0 < score.value < 100 for score in recipe.scores)


def test_bge_pools_cls_prefixes_queries_and_takes_512_tokens() -> None:
    found = [recipe for recipe in recipes() if recipe.name.startswith("bge-")]
    assert [recipe.dimension for recipe in found] == [384, 768, 1024]
    for recipe in found:
        assert (recipe.pooling, recipe.max_tokens, recipe.licence) == ("cls", 512, "MIT")
        assert recipe.prompts == {"query": "Represent this sentence for searching relevant passages: "}


def test_a_hub_id_finds_its_recipe() -> None:
    recipe = find_recipe("BAAI/bge-small-en-v1.5")
    assert recipe is not None
    assert recipe.name == "bge-small-en-v1.5"


def test_a_typo_is_told_the_nearest_name() -> None:
    with pytest.raises(CheckpointError, match="did you mean bge-small-en-v1.5"):
        load_recipe("bge-smal-en-v1.5")
