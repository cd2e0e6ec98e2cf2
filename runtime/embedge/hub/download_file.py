"""The content of a file on the hub: read in blocks, resumed when the connection breaks, compared with its hash."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from embedge.bundle.write_files import with_progress, write_checked
from embedge.hub.client import Snapshot, timeout_of
from embedge.hub.client_errors import network_errors, status_of, translated
from embedge.version import __version__

_RETRY_FOR = 3.0  # seconds after the last byte, in which a broken connection is opened again
_PAUSE = 0.5  # seconds between two tries
_BLOCK = 1 << 18  # bytes
_TRANSIENT = (500, 502, 503, 504)  # statuses of failures that may have passed a second later


def download_file(snapshot: Snapshot, name: str, path: Path, *, advance: Callable[[int], object]) -> None:
    """Download a file of a checkpoint to ``path`` and compare it with the hash that the hub states.

    A bundle's files have their hashes in the manifest; see ``download``.

    Raises:
        HubError: the file cannot be read to its end.
        BundleCorruptError: the content has another size or hash.
    """
    file = snapshot.files[name]
    # git hashes a blob's kind and size before its content.
    blob = hashlib.sha1(b"blob %d\0" % (file.size or 0), usedforsecurity=False)
    write_checked(
        with_progress(read_blocks(snapshot, name, file.size), advance),
        path,
        what=f"{name} of {snapshot.hub_id}",
        size=file.size,
        digest=hashlib.sha256() if file.sha256 else blob,
        expected=file.sha256 or (None if file.size is None else file.git_sha1),
    )


def read_blocks(snapshot: Snapshot, name: str, size: int | None) -> Iterator[bytes]:
    """The bytes of a file in blocks. A broken connection resumes at the byte where it broke.

    Args:
        snapshot: the repository.
        name: path of the file in it.
        size: the size of the file in bytes; None if it is unknown.

    Raises:
        HubError: no byte came for three seconds and the connection cannot be opened again, or the hub refuses.
    """
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(snapshot.hub_id, name, revision=snapshot.commit)
    received, last = 0, time.monotonic()
    with translated(f"{name} of {snapshot.hub_id}"):
        while True:
            try:
                for block in _request(url, received):
                    received, last = received + len(block), time.monotonic()
                    yield block
                if size is None or received >= size:
                    return
                raise EOFError(f"received {received} of {size} bytes")
            except network_errors() as error:
                if not _is_transient(error) or time.monotonic() - last > _RETRY_FOR:
                    raise
                time.sleep(_PAUSE)


def _is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a second later."""
    status = status_of(error)
    return status is None or status in _TRANSIENT


def _request(url: str, start: int) -> Iterator[bytes]:
    """The bytes of one response from ``start`` on, by requests or, since huggingface_hub 1.0, httpx."""
    # huggingface_hub documents these three functions, but does not list them in __all__.
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]

    timeout = timeout_of("HF_HUB_DOWNLOAD_TIMEOUT")
    headers = {**build_hf_headers(library_name="embedge", library_version=__version__), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    session: Any = get_session()
    is_httpx = callable(getattr(session, "stream", None))  # in requests ``stream`` is a flag
    if is_httpx:
        opened = session.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True)
    else:
        opened = session.get(url, headers=headers, timeout=timeout, stream=True)
    with opened as response:
        hf_raise_for_status(response)
        if start and response.status_code != 206:
            raise EOFError(f"the download stopped after {start} bytes and would start from the beginning")
        yield from response.iter_bytes(_BLOCK) if is_httpx else response.iter_content(_BLOCK)
