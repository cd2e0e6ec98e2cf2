"""models_table.py: what `embedge models` shows."""

import shutil
from pathlib import Path

from embedge import Bundle
from embedge.bundle.cache_paths import cached_path
from embedge_export import export
from embedge_export.command.models_table import models_table
from embedge_models import recipe_names


def groups() -> dict[str, list[str]]:
    """The lines under each heading, by the heading's first word."""
    tables = [table.splitlines() for table in "\n".join(models_table()).split("\n\n")]
    return {table[0].split("  ")[0]: table[1:] for table in tables}


def test_recipes_are_listed_by_task_then_language_then_size() -> None:
    table = groups()
    assert [*table] == ["EMBEDDER", "RERANKER"]
    names = {heading: [line.split()[0] for line in lines] for heading, lines in table.items()}
    assert sorted(names["EMBEDDER"] + names["RERANKER"]) == sorted(recipe_names())
    assert names["RERANKER"] == ["bge-reranker-base", "bge-reranker-large", "bge-reranker-v2-m3"]
    assert names["EMBEDDER"][0] == "all-MiniLM-L6-v2"
    assert names["EMBEDDER"][7:9] == ["bge-m3", "bge-small-zh"]


def test_columns_are_aligned_and_say_what_a_model_is() -> None:
    lines = models_table()
    for heading, words in (("LANGUAGE", {"en", "many", "zh", "en+zh"}), ("LICENCE", {"MIT", "Apache-2.0"})):
        at = lines[0].index(heading)
        cells = {line[at:].split()[0] for line in lines if line and heading not in line}
        assert cells == words
    assert all(line.split()[1] == "-" for line in groups()["RERANKER"])  # its dimension


def test_a_cached_recipe_names_its_precisions_and_other_bundles_come_last(
    tiny_checkpoint: Path, tiny_bundle: Bundle
) -> None:
    shutil.copytree(tiny_bundle.path, cached_path("bge-small-en"))
    other = export(tiny_checkpoint, verify=False)
    table = groups()
    assert [*table] == ["EMBEDDER", "RERANKER", "OTHER BUNDLE"]
    (row,) = (line.split() for line in table["EMBEDDER"] if line.startswith("bge-small-en "))
    assert row[7] == "fp32+int8"
    (row,) = (line.split() for line in table["OTHER BUNDLE"])
    assert (row[0], row[1], row[7]) == (other.path.name, "32", "int8")
