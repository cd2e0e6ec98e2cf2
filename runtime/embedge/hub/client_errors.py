"""Turns every failure of the hub into one HubError that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedge.errors import HubError

_MIRROR = "try again later, or set HF_ENDPOINT to a mirror that has it"


def network_errors() -> tuple[type[BaseException], ...]:
    """The exceptions of a broken connection or a refused request.

    huggingface_hub's own derive from those of requests, httpx or httpx2, depending on its version. EOFError is ours.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return (EOFError, OSError, *HfHubHTTPError.__bases__)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the response in an exception; None if there is none."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return None if status is None else int(status)


@contextmanager
def translated(what: str, revision: str | None = None) -> Iterator[None]:
    """Raise HubError for every exception of the block.

    Args:
        what: the repository, or the file of a repository, that the block asks for.
        revision: the revision of the repository, if the user gave one.
    """
    try:
        yield
    # The exceptions are those of requests, httpx, hf_xet or huggingface_hub, by version. And an answer that is not the
    # hub's, such as a hotel's log-in page, can end in any exception.
    except Exception as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else None  # an upload wraps its error
        raise HubError(_explain(cause or error, what, revision)) from error


def _explain(error: BaseException, what: str, revision: str | None) -> str:
    return _explain_missing(error, what, revision) or _explain_status(error, what) or _explain_network(error, what)


def _explain_missing(error: BaseException, what: str, revision: str | None) -> str | None:
    """Return the message if the hub says that there is no such thing, or not for this user; else None."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case GatedRepoError():
            return f"{what} is gated; accept its terms on the hub and set HF_TOKEN"
        case RepositoryNotFoundError():
            return f"the hub has no {what}, or it is private (then set HF_TOKEN); run `embedge models` to list recipes"
        case RevisionNotFoundError() if revision is not None:
            return f"the hub has no revision {revision!r} of {what}; give an existing branch, tag or commit"
        case RevisionNotFoundError() | EntryNotFoundError():
            return f"the hub has no {what} at this revision; look at its files on the hub"
    return None


def _explain_status(error: BaseException, what: str) -> str | None:
    """Return the message if the hub answers with the status of a failure; else None."""
    status, reason = status_of(error), _reason(error)
    match status:
        case None:
            return None
        case 401:
            return f"the hub does not accept the token for {what} (401); set HF_TOKEN, or run `hf auth login`"
        case 403:
            return f"the token has no access to {what} (403{reason}); set HF_TOKEN to one that has"
        case 429:
            return f"the hub got too many requests for {what} (429); wait{_wait(error)}, or set HF_TOKEN"
        case _:
            return f"the hub returned an error for {what} ({status}{reason}); {_MIRROR}"


def _explain_network(error: BaseException, what: str) -> str:
    """Return the message for an answer that did not come, or came only in part."""
    kind, reason = type(error).__name__, str(error).strip().partition("\n")[0]
    match error:
        case EOFError():
            return f"the download of {what} is incomplete ({reason}); try again"
        case _ if "/xet-" in reason:  # hf_xet uploads to a part of the hub that a mirror may lack
            return f"hf_xet failed for {what} ({kind}: {reason}); set HF_HUB_DISABLE_XET=1 and try again"
        case _ if "Validation" in kind:
            return f"{what} cannot be a hub id ({reason}); give organisation/name"
        case _ if any(word in kind for word in ("Connect", "Timeout", "Proxy", "SSL")):
            more = ", or raise HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT" if "Timeout" in kind else ""
            return f"the hub cannot be reached for {what} ({_root(error)}); {_MIRROR}{more}"
        case _ if any(word in kind for word in ("Chunked", "Protocol", "ReadError")):
            return f"the connection broke while the hub sent {what} ({kind}); try again"
        case _:
            return f"a request to the hub for {what} failed ({kind}: {reason}); {_MIRROR}"


def _reason(error: BaseException) -> str:
    """What the hub says of a failure, after a colon; empty if it says nothing."""
    reason = str(getattr(error, "server_message", None) or "").strip().partition("\n")[0]
    return f": {reason}" if reason else ""


def _root(error: BaseException) -> str:
    """The first cause of an exception, such as "ConnectError: [Errno 111] Connection refused"."""
    root = error
    while inner := root.__cause__ or root.__context__:
        root = inner
    return f"{type(error).__name__}: {root}" if str(root) else type(error).__name__


def _wait(error: BaseException) -> str:
    """How long to wait, from the response's header Retry-After."""
    seconds = str(getattr(error, "response").headers.get("Retry-After", ""))  # noqa: B009  # of a type without it
    return f" {seconds} s" if seconds.isdigit() else " a minute"
