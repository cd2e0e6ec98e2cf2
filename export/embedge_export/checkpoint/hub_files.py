"""Fetches a checkpoint's files from the Hugging Face hub, or finds them in a cache on this machine."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from embedge.bundle.files import link_or_copy
from embedge.bundle.staging import lock_destination, report_write_errors, staging
from embedge.errors import BundleError, CheckpointError, HubError
from embedge.hub.client import Snapshot, find_snapshot, is_offline
from embedge.hub.download_file import download_file
from embedge.progress import progress
from embedge_export.checkpoint.weight_files import MULTI_VECTOR_HEAD, SPARSE_HEAD

# The files that an export reads. ONNX and OpenVINO graphs are not downloaded.
_CONFIGS = ("*.json", SPARSE_HEAD, MULTI_VECTOR_HEAD)
# sentence-transformers 1 saved the encoder in the folder 0_Transformer.
_SAFETENSORS = ("model*.safetensors", "0_Transformer/model*.safetensors")
_PICKLES = ("pytorch_model*.bin", "0_Transformer/pytorch_model*.bin")


def fetch_from_hub(
    hub_id: str, revision: str | None, *, cache: Path, offline: bool, hub_failure: Exception | None = None
) -> Path:
    """Return a folder with the files of one commit; its name ends in ``@`` and the commit, or is the commit.

    The folder is in huggingface_hub's own cache if the files are there, else in embedge's.

    Args:
        hub_id: ``owner/name``.
        revision: the pinned commit; None for the newest.
        cache: embedge's cache directory.
        offline: do not use the network.
        hub_failure: the error that the hub has just returned for this id. The hub is then not asked again: the files
            on this machine are used, and if there are none, the error is raised.

    Raises:
        CheckpointError: the files are not on this machine and cannot be downloaded.
    """
    try:
        if offline or hub_failure is not None or is_offline():
            return _find_local(hub_id, revision, cache, hub_failure)
        return _download(find_snapshot(hub_id, revision), cache)
    except (HubError, BundleError) as error:
        raise CheckpointError(f"{error}; or download it elsewhere and run `embedge export DIRECTORY`") from error


def _checkpoint_folder(cache: Path, hub_id: str, commit: str) -> Path:
    return cache / "checkpoints" / f"{hub_id.replace('/', '--')}@{commit}"


def _find_local(hub_id: str, revision: str | None, cache: Path, hub_failure: Exception | None) -> Path:
    """Return the folder of the pinned commit, or of the newest on this machine, without the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    pattern = _checkpoint_folder(cache, hub_id, revision or "*")
    if folders := sorted(pattern.parent.glob(pattern.name), key=lambda folder: folder.stat().st_mtime):
        return folders[-1]
    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        if hub_failure is not None:
            raise HubError(str(hub_failure)) from hub_failure
        raise HubError(
            f"{hub_id} is not in the cache, and the network must not be used; unset HF_HUB_OFFLINE and do not set "
            f"local_files_only, or set HF_ENDPOINT to a mirror that has {hub_id}"
        ) from error


def _download(snapshot: Snapshot, cache: Path) -> Path:
    """Download the files that an export reads. The folder appears whole or not at all."""
    from huggingface_hub import try_to_load_from_cache

    wanted = _files_to_read(snapshot)
    folder = _checkpoint_folder(cache, snapshot.hub_id, snapshot.commit)
    if not _missing(folder, wanted):
        return folder
    cached = [try_to_load_from_cache(snapshot.hub_id, name, revision=snapshot.commit) for name in wanted]
    if all(isinstance(path, str) for path in cached):
        return Path(str(cached[0])).parents[wanted[0].count("/")]
    with report_write_errors(folder), lock_destination(folder):
        missing = _missing(folder, wanted)
        if missing:  # or another process has downloaded them in the meantime
            _download_missing(snapshot, folder, wanted, missing)
    return folder


def _download_missing(snapshot: Snapshot, folder: Path, wanted: Sequence[str], missing: Sequence[str]) -> None:
    """Put a new folder in place, with the missing files downloaded and the others linked from the old folder."""
    size = sum(snapshot.files[name].size or 0 for name in missing) or None
    with staging(folder) as (new, _), progress(size, None, unit="B") as advance:
        for name in wanted:
            if name in missing:
                download_file(snapshot, name, new / name, advance=advance)
            else:
                link_or_copy(folder / name, new / name)


def _missing(folder: Path, wanted: Sequence[str]) -> list[str]:
    """Return the files that a folder lacks. An older embedge, which read fewer files, downloaded only those."""
    return [name for name in wanted if not (folder / name).is_file()]


def _files_to_read(snapshot: Snapshot) -> list[str]:
    """Return the names of the files to download: pickled weights only if the repository has no safetensors."""

    def matching(patterns: tuple[str, ...]) -> list[str]:
        return [name for name in snapshot.files if any(fnmatchcase(name, pattern) for pattern in patterns)]

    weights = matching(_SAFETENSORS) or matching(_PICKLES)
    if not weights:
        raise CheckpointError(
            f"{snapshot.hub_id} has neither model.safetensors nor pytorch_model.bin on the hub; choose another model"
        )
    return [*matching(_CONFIGS), *weights]
