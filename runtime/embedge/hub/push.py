"""A bundle -> a repository on the hub, in the same layout, in one commit."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.checksum import sha256
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST
from embedge.bundle.write_files import select_precisions
from embedge.errors import HubError
from embedge.hub.client import Snapshot, ask, find_snapshot, hub_api, is_offline
from embedge.hub.client_errors import translated
from embedge.hub.model_card import card

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

_CARD = "README.md"


def push_bundle(
    bundle: Bundle, hub_id: str, *, private: bool = False, revision: str | None = None, message: str | None = None
) -> str:
    """Upload the files that the manifest names, with the manifest, and a model card where there is none.

    Args:
        bundle: whose files are checked first.
        hub_id: organisation/name; the repository is made if it is not there.
        private: of a repository that is made; one that is there stays as it is.
        revision: branch, made if it is not there; None is ``main``.
        message: of the commit.

    Returns:
        The commit's address.

    Raises:
        BundleCorruptError: a file is not what was exported.
        HubError: the hub cannot be reached or refuses, such as without a token that may write, or does not hold then
            what was uploaded.
    """
    if "/" not in hub_id:  # the hub would take it, and Embedder would take it for a recipe's name
        raise HubError(f"{hub_id} cannot be a bundle's hub id; give organisation/name")
    bundle.check()
    if is_offline():
        raise HubError(f"{hub_id} cannot be pushed to while HF_HUB_OFFLINE is set; unset it")
    api = hub_api()
    found = _find(api, hub_id, None)
    if found and private and not found.private:
        raise HubError(f"{hub_id} is there and is not private; make it so on the hub, or leave --private out")
    if found is None:
        ask(hub_id, lambda: api.create_repo(hub_id, private=private, exist_ok=True))
    if revision:
        ask(hub_id, lambda: api.create_branch(hub_id, branch=revision, exist_ok=True))
        found = _find(api, hub_id, revision)
    names = {file.rfilename for file in found.siblings or ()} if found else set()
    return _commit(api, bundle, hub_id, revision, message, with_card=_CARD not in names)


def _find(api: "HfApi", hub_id: str, revision: str | None) -> "ModelInfo | None":
    """What the hub says of a repository; None where there is none, or none that this token may see."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    def question() -> "ModelInfo | None":
        try:
            return api.model_info(hub_id, revision=revision)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None

    return ask(hub_id, question)


def _commit(
    api: "HfApi", bundle: Bundle, hub_id: str, revision: str | None, message: str | None, *, with_card: bool
) -> str:
    from huggingface_hub import CommitOperationAdd

    contents: dict[str, Path | bytes] = {name: bundle.path / name for name in bundle.manifest.files}
    contents[MANIFEST] = select_precisions(
        Bundle.read_manifest(bundle.path), tuple(bundle.manifest.precisions)
    ).encode()
    if with_card:
        contents[_CARD] = card(bundle.manifest, hub_id).encode()
    with translated(hub_id):
        done = api.create_commit(
            hub_id,
            [CommitOperationAdd(name, content) for name, content in contents.items()],
            commit_message=message or f"embedge bundle of {bundle.manifest.model}",
            revision=revision,
        )
    _check_arrived(find_snapshot(hub_id, done.oid), contents)
    return str(done.commit_url)


def _check_arrived(snapshot: Snapshot, contents: Mapping[str, Path | bytes]) -> None:
    """Raises HubError where the hub lacks a file of a commit or has another, as far as it says their hashes."""
    for name, content in contents.items():
        found = snapshot.files.get(name)
        if found is None:
            raise HubError(f"{snapshot.hub_id} on the hub lacks {name}, which was just uploaded; push it again")
        recorded = found.sha256 or found.git_sha1
        if recorded not in (None, _hash(content, is_large=found.sha256 is not None)):
            raise HubError(f"{name} of {snapshot.hub_id} on the hub is not what was uploaded; push it again")


def _hash(content: Path | bytes, *, is_large: bool) -> str:
    """What the hub says of a file, in hex: SHA-256 where it is a large one, else the SHA-1 of git's blob."""
    if is_large:
        return sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
