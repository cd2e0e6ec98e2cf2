"""The Hugging Face Hub through huggingface_hub: requests about a repository, and the list of its files.

huggingface_hub decides endpoint, token, proxy and offline mode (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE). Its downloads
are not used (see ``download_file``): they ask a failing hub six times in half a minute, and do not compare hashes.
Here, a hub that fails or sends nothing is an error within seconds. A hub that is slow but still sends bytes is not.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from embedge.background import BackgroundTask
from embedge.errors import HubError
from embedge.hub.client_errors import translated
from embedge.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

_TIMEOUT = 4.0  # seconds for an answer, and for the next byte, unless huggingface_hub's own variables set another

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository. A mirror may leave out any of the three attributes, which is then None.

    Attributes:
        size: the size in bytes.
        git_sha1: SHA-1 of the file's git blob; None for a large file, because git stores only a pointer to it.
        sha256: SHA-256 of a large file's content; None for other files.
    """

    size: int | None
    git_sha1: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        hub_id: organisation/name.
        commit: git's hash of the commit.
        files: the files, by path.
    """

    hub_id: str
    commit: str
    files: Mapping[str, HubFile]


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set.

    Raises:
        HubError: huggingface_hub cannot be imported: it is not installed, or one of its variables has a value that it
            cannot read.
    """
    try:
        with _installed():
            from huggingface_hub import constants
    except ValueError as error:
        raise HubError(
            f"huggingface_hub cannot be imported, because it cannot read one of the HF_* variables ({error}); "
            "set HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT to whole numbers, or unset them"
        ) from error

    return bool(constants.HF_HUB_OFFLINE)


def find_snapshot(hub_id: str, revision: str | None = None) -> Snapshot:
    """Ask the hub for a repository's commit and files, at a revision; None is the newest commit.

    Raises:
        HubError: there is no such repository or revision, it may not be read, or the hub cannot be reached.
    """
    if is_offline():
        raise HubError(f"{hub_id} cannot be downloaded while HF_HUB_OFFLINE is set; unset it")
    timeout = timeout_of("HF_HUB_ETAG_TIMEOUT")
    api = hub_api()
    info = ask(
        hub_id, lambda: api.model_info(hub_id, revision=revision, files_metadata=True, timeout=timeout), revision
    )
    with translated(hub_id, revision):
        files = {str(sibling.rfilename): _file(sibling) for sibling in info.siblings or ()}
    return Snapshot(hub_id=hub_id, commit=str(info.sha), files=files)


def _file(sibling: "RepoSibling") -> HubFile:
    """Convert the hub's answer about a file; raises ValueError where a value has a wrong type."""
    large = sibling.lfs  # a dict or, since huggingface_hub 0.27, an object that is a dict, too
    sha256 = large["sha256"] if large else None
    git_sha1 = None if large else sibling.blob_id
    are_hashes = all(isinstance(value, str | None) for value in (sha256, git_sha1))
    if not (isinstance(sibling.rfilename, str) and isinstance(sibling.size, int | None) and are_hashes):
        raise ValueError(f"invalid answer about the file {sibling.rfilename!r} of size {sibling.size!r}")
    return HubFile(size=sibling.size, git_sha1=git_sha1, sha256=sha256)


def hub_api() -> "HfApi":
    """huggingface_hub's client, which sends embedge's name and version to the hub.

    Raises:
        HubError: huggingface_hub or a package that it needs is not installed.
    """
    with _installed():
        from huggingface_hub import HfApi

    return HfApi(library_name="embedge", library_version=__version__)


@contextmanager
def _installed() -> Iterator[None]:
    """Run imports from huggingface_hub; raise HubError if it is not there, as in a trimmed deployment."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "huggingface_hub").partition(".")[0]
        needed = "" if missing == "huggingface_hub" else ", which huggingface_hub needs,"
        raise HubError(f"{missing}{needed} is not installed; run `pip install huggingface_hub`") from error


def ask(hub_id: str, question: Callable[[], Answer], revision: str | None = None) -> Answer:
    """Run a short request and return the hub's answer.

    The request runs in a thread, because the look-up of a host name has no timeout if the name server does not answer.

    Raises:
        HubError: the request fails, or the answer does not come in time.
    """
    timeout = timeout_of("HF_HUB_ETAG_TIMEOUT")
    with translated(hub_id, revision):
        return BackgroundTask(question, daemon=True).result(timeout + 0.5)


def timeout_of(variable: str) -> float:
    """The value of one of huggingface_hub's timeout variables, in seconds; 4 if it is not set to a number."""
    try:
        return float(os.environ.get(variable) or _TIMEOUT)
    except ValueError:
        return _TIMEOUT
