"""Uploads a bundle to a repository on the hub, in the same layout and in one commit."""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.checksum import sha256
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST
from embedge.bundle.transformers_js import CONFIG, names_graphs
from embedge.bundle.write_files import select_precisions
from embedge.errors import HubError
from embedge.hub.client import Snapshot, ask, find_snapshot, hub_api, is_offline
from embedge.hub.client_errors import translated
from embedge.hub.model_card import model_card
from embedge.progress import is_terminal

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

_CARD = "README.md"


def push(
    bundle: Bundle, hub_id: str, *, private: bool = False, revision: str | None = None, message: str | None = None
) -> str:
    """Upload the manifest and the files that it names, and a model card if the repository has none.

    Args:
        bundle: its files are checked first.
        hub_id: organisation/name; the repository is created if it does not exist.
        private: whether a repository that is created is private; an existing one stays as it is.
        revision: branch, created if it does not exist; None is ``main``.
        message: the message of the commit.

    Returns:
        The commit's address.

    Raises:
        BundleCorruptError: a file differs from what was exported.
        HubError: the hub cannot be reached or refuses, for example without a token that may write; or it does not hold
            the uploaded files afterwards.
    """
    _check_can_push(bundle, hub_id)
    api = hub_api()
    repository = _find_repository(api, hub_id, None)
    if repository and private and not repository.private:
        raise HubError(f"{hub_id} exists and is public; make it private on the hub, or leave --private out")
    if repository is None:
        ask(hub_id, lambda: api.create_repo(hub_id, private=private, exist_ok=True))
    if revision:
        ask(hub_id, lambda: api.create_branch(hub_id, branch=revision, exist_ok=True))
        repository = _find_repository(api, hub_id, revision)
    names = {file.rfilename for file in repository.siblings or ()} if repository else set()
    contents = _contents(bundle)
    if _CARD not in names:
        card = model_card(bundle.manifest, hub_id, in_javascript=names_graphs(bundle.path / CONFIG))
        contents[_CARD] = card.encode()
    return _commit(api, contents, hub_id, revision, message or f"embedge bundle of {bundle.manifest.model}")


def _check_can_push(bundle: Bundle, hub_id: str) -> None:
    if "/" not in hub_id:  # the hub would accept it, but Embedder would take it for a recipe's name
        raise HubError(f"{hub_id} cannot be a bundle's hub id; give organisation/name")
    bundle.check()
    if is_offline():
        raise HubError(f"{hub_id} cannot be pushed to while HF_HUB_OFFLINE is set; unset it")


def _find_repository(api: "HfApi", hub_id: str, revision: str | None) -> "ModelInfo | None":
    """The hub's description of a repository; None if there is none that this token may see."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    def question() -> "ModelInfo | None":
        try:
            return api.model_info(hub_id, revision=revision)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None

    return ask(hub_id, question)


def _contents(bundle: Bundle) -> dict[str, Path | bytes]:
    """What is uploaded, by its path in the repository."""
    contents: dict[str, Path | bytes] = {name: bundle.path / name for name in bundle.manifest.files}
    contents[MANIFEST] = select_precisions(
        Bundle.read_manifest(bundle.path), tuple(bundle.manifest.precisions)
    ).encode()
    return contents


def _commit(api: "HfApi", contents: Mapping[str, Path | bytes], hub_id: str, revision: str | None, message: str) -> str:
    from huggingface_hub import CommitOperationAdd

    with translated(hub_id), _bars_on_a_terminal():
        commit = api.create_commit(
            hub_id,
            [CommitOperationAdd(name, content) for name, content in contents.items()],
            commit_message=message,
            revision=revision,
        )
    _check_uploaded(find_snapshot(hub_id, commit.oid), contents)
    return str(commit.commit_url)


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """Keep huggingface_hub from showing its bars where stderr is no terminal: they fail where there is no stderr."""
    # huggingface_hub documents these three functions, but does not list them in __all__.
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if is_terminal(sys.stderr) or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _check_uploaded(snapshot: Snapshot, contents: Mapping[str, Path | bytes]) -> None:
    """Raises HubError if the commit lacks a file or holds another. A file without a hash there is not compared."""
    for name, content in contents.items():
        file = snapshot.files.get(name)
        if file is None:
            raise HubError(f"{snapshot.hub_id} on the hub lacks {name}, which was just uploaded; push it again")
        recorded = file.sha256 or file.git_sha1
        if recorded not in (None, _hash(content, is_large=file.sha256 is not None)):
            raise HubError(f"{name} of {snapshot.hub_id} on the hub is not what was uploaded; push it again")


def _hash(content: Path | bytes, *, is_large: bool) -> str:
    """The hash that the hub states for a file, in hex: SHA-256 of a large file, else SHA-1 of its git blob."""
    if is_large:
        return sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
    data = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
