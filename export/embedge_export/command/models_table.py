"""The table that `embedge models` prints: recipes and cached bundles by task, then language, then size."""

from collections.abc import Iterable, Mapping, Sequence

from embedge.bundle.cache_paths import cached_path
from embedge.bundle.directory import Bundle
from embedge.hub.cache import cached_bundles
from embedge_export.checkpoint.recipe import Recipe, recipes

Row = tuple[str, ...]
_TASKS: Mapping[str, str] = {"embed": "EMBEDDER", "rerank": "RERANKER"}
_COLUMNS = ("DIM", "TOKENS", "INT8", "LANGUAGE", "LICENCE", "CACHED", "")


def models_table() -> list[str]:
    """Return the lines: the recipes of each task under a heading, then the cached bundles without a recipe."""
    usable = cached_bundles()
    cached = {recipe.name: _find_cached(recipe, usable) for recipe in recipes()}
    ordered = sorted(recipes(), key=lambda recipe: recipe.languages)  # stable: by size within a language
    groups = {
        heading: [_recipe_row(recipe, cached[recipe.name]) for recipe in ordered if recipe.task == task]
        for task, heading in _TASKS.items()
    }
    known = {bundle.path for bundle in cached.values() if bundle}
    if others := [_bundle_row(bundle) for bundle in usable if bundle.path not in known]:
        groups["OTHER BUNDLE"] = others
    return _lay_out([(heading, *_COLUMNS), *rows] for heading, rows in groups.items())


def _find_cached(recipe: Recipe, usable: Sequence[Bundle]) -> Bundle | None:
    places = (cached_path(recipe.name), cached_path(recipe.hub.id))
    return next((b for b in usable if b.path in places), None)


def _recipe_row(recipe: Recipe, cached: Bundle | None) -> Row:
    return (
        recipe.name,
        "-" if recipe.task == "rerank" else str(recipe.dimension),
        str(recipe.max_tokens),
        f"{recipe.parameters / 1e6:.0f} MB",
        "+".join(recipe.languages).replace("mul", "many"),
        recipe.licence,
        "+".join(sorted(cached.manifest.precisions)) if cached else "no",
        recipe.summary,
    )


def _bundle_row(bundle: Bundle) -> Row:
    m, size = bundle.manifest, "-"
    if "int8" in m.precisions:
        sizes = (m.files[file].size for file in bundle.graph_files("int8") if file in m.files)
        size = f"{sum(sizes) / 1e6:.0f} MB"
    return (
        bundle.path.name.replace("--", "/"),
        str(m.dimension),
        str(m.max_tokens),
        size,
        "-",
        m.licence or "?",
        "+".join(sorted(m.precisions)),
        m.source.origin,
    )


def _lay_out(groups: Iterable[list[Row]]) -> list[str]:
    """Align the columns but the last, and put an empty line between groups."""
    tables = list(groups)
    widths = [max(len(row[column]) for rows in tables for row in rows) for column in range(len(_COLUMNS))]
    lines = []
    for rows in tables:
        lines += ["", *(_line(row, widths) for row in rows)]
    return lines[1:]


def _line(row: Row, widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
