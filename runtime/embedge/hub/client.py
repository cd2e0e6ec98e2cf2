"""The Hugging Face hub, by huggingface_hub: what a repository holds, and the bytes of its files.

Endpoint, token, proxy and offline mode are huggingface_hub's matter (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE). Its own
downloads are not used: they ask a hub that fails six times, for half a minute, and compare no hash. Here a hub that is
silent or fails is an error within seconds, while one that still sends is waited for.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from embedge.background import BackgroundTask
from embedge.bundle.write_files import with_progress, write_checked
from embedge.errors import HubError
from embedge.hub.client_errors import network_errors, status_of, translated
from embedge.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

_PATIENCE = 4.0  # seconds for an answer, and for the next byte, unless huggingface_hub's own variables say otherwise
_AGAIN = 3.0  # seconds after the last byte in which a broken connection is tried again
_PAUSE = 0.5  # seconds between tries
_BLOCK = 1 << 18  # bytes
_PASSING = (500, 502, 503, 504)  # statuses that may be others a second later

_failure: ContextVar[HubError | None] = ContextVar("_failure", default=None)  # see not_asked_again

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a repository.

    Attributes:
        size: in bytes; None where a mirror does not say it, as with what follows.
        git_sha1: of git's blob; None for a large file, of which that is a pointer's.
        sha256: of a large file; None for others.
    """

    size: int | None
    git_sha1: str | None
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository at one commit.

    Attributes:
        hub_id: organisation/name.
        commit: git's.
        files: by path.
    """

    hub_id: str
    commit: str
    files: Mapping[str, HubFile]


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set.

    Raises:
        HubError: huggingface_hub cannot read one of its own variables, with which it then cannot be imported.
    """
    try:
        from huggingface_hub import constants
    except ValueError as error:
        raise HubError(
            f"huggingface_hub cannot be imported ({error}); a variable that begins with HF_ has a value that it cannot "
            "read: HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT must be whole numbers"
        ) from error

    return bool(constants.HF_HUB_OFFLINE)


def find_snapshot(hub_id: str, revision: str | None = None) -> Snapshot:
    """What a repository holds now, or at a revision.

    Raises:
        HubError: there is no such repository or revision, it may not be read, or the hub cannot be reached.
    """
    if failure := _failure.get():
        raise HubError(str(failure)) from failure
    if is_offline():
        raise HubError(f"{hub_id} cannot be asked for while HF_HUB_OFFLINE is set; unset it")
    patience = _patience("HF_HUB_ETAG_TIMEOUT")
    api = hub_api()
    info = ask(
        hub_id, lambda: api.model_info(hub_id, revision=revision, files_metadata=True, timeout=patience), revision
    )
    with translated(hub_id, revision):
        files = {str(found.rfilename): _file(found) for found in info.siblings or ()}
    return Snapshot(hub_id=hub_id, commit=str(info.sha), files=files)


def _file(found: "RepoSibling") -> HubFile:
    """What the hub says of a file; raises ValueError where that is nothing that can be said of one."""
    large = found.lfs  # a dict or, since huggingface_hub 0.27, an object that is one, too
    sha256 = large["sha256"] if large else None
    git_sha1 = None if large else found.blob_id
    texts = all(isinstance(value, str | None) for value in (sha256, git_sha1))
    if not (isinstance(found.rfilename, str) and isinstance(found.size, int | None) and texts):
        raise ValueError(f"it lists {found.rfilename!r} of size {found.size!r}")
    return HubFile(size=found.size, git_sha1=git_sha1, sha256=sha256)


@contextmanager
def not_asked_again(failure: Exception | None) -> Iterator[None]:
    """Inside the block ``find_snapshot`` raises that failure, if it is a hub's, at once."""
    token = _failure.set(failure if isinstance(failure, HubError) else None)
    try:
        yield
    finally:
        _failure.reset(token)


def hub_api() -> "HfApi":
    """huggingface_hub's client, under our name."""
    from huggingface_hub import HfApi

    return HfApi(library_name="embedge", library_version=__version__)


def ask(hub_id: str, question: Callable[[], Answer], revision: str | None = None) -> Answer:
    """The hub's answer to a short question; HubError where it is none, or late: a dead name server has no timeout."""
    patience = _patience("HF_HUB_ETAG_TIMEOUT")
    with translated(hub_id, revision):
        return BackgroundTask(question, daemon=True).result(patience + 0.5)


def read_blocks(snapshot: Snapshot, name: str, size: int | None) -> Iterator[bytes]:
    """A file's bytes. A connection that breaks is taken up where it broke, as long as bytes still come.

    Args:
        snapshot: what holds it.
        name: its path.
        size: how many bytes it has; None where that is not known.

    Raises:
        HubError: it cannot be read to its end.
    """
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(snapshot.hub_id, name, revision=snapshot.commit)
    got, last = 0, time.monotonic()
    with translated(f"{name} of {snapshot.hub_id}"):
        while True:
            try:
                for block in _request(url, got):
                    got, last = got + len(block), time.monotonic()
                    yield block
                if size is None or got >= size:
                    return
                raise EOFError(f"{got} of {size} bytes came")
            except network_errors() as error:
                status = status_of(error)
                passing = status is None or status in _PASSING
                if not passing or time.monotonic() - last > _AGAIN:
                    raise
                time.sleep(_PAUSE)


def receive(snapshot: Snapshot, name: str, path: Path, *, advance: Callable[[int], object]) -> None:
    """A file into ``path``, compared to the hash that the hub says it has; for a bundle's, its manifest says it.

    Raises:
        HubError: it cannot be read to its end.
        BundleCorruptError: it is another file.
    """
    file = snapshot.files[name]
    # The hash of a git blob is that of its kind, size and content.
    blob = hashlib.sha1(b"blob %d\0" % (file.size or 0), usedforsecurity=False)
    write_checked(
        with_progress(read_blocks(snapshot, name, file.size), advance),
        path,
        what=f"{name} of {snapshot.hub_id}",
        size=file.size,
        digest=hashlib.sha256() if file.sha256 else blob,
        expected=file.sha256 or (None if file.size is None else file.git_sha1),
    )


def _request(url: str, start: int) -> Iterator[bytes]:
    """One answer's bytes from ``start`` on, through requests or, since huggingface_hub 1.0, httpx."""
    # They are documented, and not in __all__.
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

    patience = _patience("HF_HUB_DOWNLOAD_TIMEOUT")
    headers = {**build_hf_headers(library_name="embedge", library_version=__version__), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    session: Any = get_session()
    is_httpx = callable(getattr(session, "stream", None))  # requests has a flag of that name
    if is_httpx:
        opened = session.stream("GET", url, headers=headers, timeout=patience, follow_redirects=True)
    else:
        opened = session.get(url, headers=headers, timeout=patience, stream=True)
    with opened as response:
        hf_raise_for_status(response)
        if start and response.status_code != 206:
            raise EOFError(f"it broke off after {start} bytes and begins anew")
        yield from response.iter_bytes(_BLOCK) if is_httpx else response.iter_content(_BLOCK)


def _patience(variable: str) -> float:
    """Seconds, from huggingface_hub's variable where it is set."""
    try:
        return float(os.environ.get(variable) or _PATIENCE)
    except ValueError:
        return _PATIENCE
