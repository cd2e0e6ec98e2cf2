"""Whatever goes wrong with the hub, as one error that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from embedge.errors import HubError


def network_errors() -> tuple[type[BaseException], ...]:
    """requests', httpx's or httpx2's, by huggingface_hub's version, whose own derive from them; EOFError is ours."""
    from huggingface_hub.errors import HfHubHTTPError

    return (EOFError, OSError, *HfHubHTTPError.__bases__)


def status_of(error: BaseException) -> int | None:
    """The status of the answer that an error is about."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return None if status is None else int(status)


@contextmanager
def translated(what: str, revision: str | None = None) -> Iterator[None]:
    """Raises HubError for whatever huggingface_hub raises about ``what``: a repository, at a revision, or its file."""
    try:
        yield
    # requests', httpx's, hf_xet's or its own, by version; and whatever an answer ends in that is not the hub's, such as
    # a hotel's page to log in.
    except Exception as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) else None  # of an upload
        raise HubError(_explain(cause or error, what, revision)) from error


def _explain(error: BaseException, what: str, revision: str | None) -> str:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status, kind = status_of(error), type(error).__name__
    reason = str((getattr(error, "server_message", None) or "") if status else error).strip().partition("\n")[0]
    answer = f"{status}: {reason}" if reason else f"{status}"
    mirror = "try again later, or set HF_ENDPOINT to a mirror that has it"
    match error:
        case GatedRepoError():
            return f"{what} is gated; accept its terms on the hub and set HF_TOKEN"
        case RepositoryNotFoundError():
            return f"the hub has no {what}, or it is private (then set HF_TOKEN); `embedge models` lists recipes"
        case RevisionNotFoundError() if revision is not None:
            takes = "`--revision` takes a branch, tag or commit that is there"
            return f"the hub has no revision {revision!r} of {what}; {takes}"
        case RevisionNotFoundError() | EntryNotFoundError():
            return f"the hub has no {what} at this revision; look at its files on the hub"
        case EOFError():
            return f"the hub sent {what} cut short ({reason}); try again"
        case _ if status == 401:
            return f"the hub wants a token that it knows for {what} (401); set HF_TOKEN, or `hf auth login`"
        case _ if status == 403:
            return f"the hub forbids {what} to this token ({answer}); set HF_TOKEN to one that may"
        case _ if status == 429:
            return f"the hub was asked too often for {what} (429); wait{_wait(error)}, or set HF_TOKEN"
        case _ if status is not None:
            return f"the hub failed at {what} ({answer}); {mirror}"
        case _ if "/xet-" in reason:  # a mirror that lacks this part of the hub, to which hf_xet would upload
            return f"the hub failed at {what} by hf_xet ({kind}: {reason}); set HF_HUB_DISABLE_XET=1 and try again"
        case _ if "Validation" in kind:
            return f"{what} cannot be a hub id ({reason}); give organisation/name"
        case _ if any(word in kind for word in ("Connect", "Timeout", "Proxy", "SSL")):
            more = ", or wait longer by HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT" if "Timeout" in kind else ""
            return f"the hub cannot be reached for {what} ({_root(error)}); {mirror}{more}"
        case _ if any(word in kind for word in ("Chunked", "Protocol", "ReadError")):
            return f"the hub broke off {what} ({kind}); try again"
        case _:
            return f"a question to the hub about {what} failed ({kind}: {reason}); {mirror}"


def _root(error: BaseException) -> str:
    """What an error goes back to, such as "[Errno 111] Connection refused"."""
    root = error
    while inner := root.__cause__ or root.__context__:
        root = inner
    return f"{type(error).__name__}: {root}" if str(root) else type(error).__name__


def _wait(error: BaseException) -> str:
    """What Retry-After says, in words."""
    seconds = str(getattr(error, "response").headers.get("Retry-After", ""))  # noqa: B009  # of a type without it
    return f" {seconds} s" if seconds.isdigit() else " a minute"
