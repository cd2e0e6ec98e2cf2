"""The recipes are complete, and state the same as the models' publishers."""

import re
from dataclasses import fields

import pytest

from embedge import CheckpointError
from embedge_export.checkpoint.recipe import Recipe, find_recipe, load_recipe, recipes
from embedge_models import read_recipe, recipe_names

PROMPTS = {
    "en": {"query": "Represent this sentence for searching relevant passages: "},
    "zh": {"query": "为这个句子生成表示以用于检索相关文章："},
}
# Layers, hidden size, vocabulary and positions of the published config.json.
SHAPES = {
    "all-MiniLM-L6-v2": (6, 384, 30522, 512),
    "bge-small-en": (12, 384, 30522, 512),
    "bge-base-en": (12, 768, 30522, 512),
    "bge-large-en": (24, 1024, 30522, 512),
    "bge-small-zh": (4, 512, 21128, 512),
    "bge-base-zh": (12, 768, 21128, 512),
    "bge-large-zh": (24, 1024, 21128, 512),
    "bge-reranker-base": (12, 768, 250002, 514),
    "bge-reranker-large": (24, 1024, 250002, 514),
    "bge-reranker-v2-m3": (24, 1024, 250002, 8194),
    "bge-m3": (24, 1024, 250002, 8194),
}
every_recipe = pytest.mark.parametrize("name", recipe_names())


def test_every_model_of_the_family_has_a_recipe() -> None:
    versions = {name for name in SHAPES if name.endswith(("-en", "-zh"))}
    assert set(recipe_names()) == SHAPES.keys() | {f"{name}-v1.5" for name in versions}


@every_recipe
def test_a_recipe_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert set(read_recipe(name)) <= {field.name for field in fields(Recipe)}
    assert re.fullmatch("[0-9a-f]{40}", recipe.hub.revision)
    assert recipe.hub.id.endswith(f"/{name}")
    assert all(score.source.startswith("https://") and 0 < score.value < 100 for score in recipe.scores)
    assert recipe.scores or name == "bge-reranker-v2-m3"  # its scores are published only as pictures


def test_no_two_recipes_have_the_same_revision() -> None:
    """A recipe copied from another one, with the old revision still in it, would pass every other test."""
    revisions = [recipe.hub.revision for recipe in recipes()]
    assert len(set(revisions)) == len(revisions)


@every_recipe
def test_sizes_are_those_of_the_config(name: str) -> None:
    """A BertModel with its pooler, or an XLMRobertaForSequenceClassification with a score in its place."""
    recipe = load_recipe(name)
    layers, hidden, vocabulary, positions = SHAPES[name.removesuffix("-v1.5")]
    types = 1 if recipe.architecture == "xlm-roberta" else 2
    embeddings = (vocabulary + positions + types + 2) * hidden
    attention, ffn, norms = 4 * (hidden + 1) * hidden, (2 * 4 * hidden + 5) * hidden, 4 * hidden
    head = (hidden + 1) * hidden + (hidden + 1 if recipe.task == "rerank" else 0)
    assert recipe.parameters == embeddings + layers * (attention + ffn + norms) + head
    assert recipe.dimension == (1 if recipe.task == "rerank" else hidden)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("bge-")])
def test_bge_pools_cls_and_prefixes_queries_in_its_language(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.pooling == "cls"
    assert recipe.max_tokens == (8192 if "m3" in name else 512)
    assert recipe.licence == ("Apache-2.0" if name == "bge-reranker-v2-m3" else "MIT")
    assert (recipe.task == "rerank") == ("reranker" in name)
    assert recipe.sparse == recipe.multi_vector == (name == "bge-m3")
    assert recipe.architecture == ("xlm-roberta" if "m3" in name or "reranker" in name else "bert")
    languages = [language for language in PROMPTS if language in name.split("-")]
    assert recipe.prompts == (PROMPTS[languages[0]] if languages else {})
    assert [*recipe.languages] == (languages or (["mul"] if "m3" in name else ["en", "zh"]))


def test_a_hub_id_finds_its_recipe() -> None:
    recipe = find_recipe("BAAI/bge-small-en-v1.5")
    assert recipe is not None
    assert recipe.name == "bge-small-en-v1.5"


def test_a_typo_gets_the_nearest_name() -> None:
    with pytest.raises(CheckpointError, match="did you mean bge-small-en-v1.5"):
        load_recipe("bge-smal-en-v1.5")


def test_a_name_unlike_any_other_gets_no_suggestion() -> None:
    with pytest.raises(CheckpointError) as seen:
        load_recipe("nothing")
    assert str(seen.value).endswith("checkpoint's directory; run `embedge models` to list all recipes")
