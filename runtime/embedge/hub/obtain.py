"""Obtains a bundle that is not, or not completely, in the cache: downloads it from the hub, or has it exported."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from embedge.bundle.cache_paths import cache_home, cached_path
from embedge.bundle.commit import read_commit
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST, PRECISIONS, Precision
from embedge.bundle.paths import is_dir, is_file
from embedge.bundle.remedy import adding_command
from embedge.bundle.staging import queue_for, report_write_errors
from embedge.errors import (
    BundleError,
    BundleNotFoundError,
    CheckpointError,
    HubError,
    MissingExtraError,
    PrecisionNotFoundError,
)
from embedge.hub.client import Snapshot, find_snapshot
from embedge.hub.download import download
from embedge.hub.exporter import load_exporter
from embedge.progress import log_step


@dataclass(frozen=True, slots=True)
class Request:
    """A model whose bundle is to be obtained.

    Attributes:
        name: a recipe's name or a hub id.
        precisions: the precisions of the graphs; None is the first of ``preferred`` that can be had, or without
            ``preferred`` int8, or the only one that the hub has.
        cache_dir: the cache; see ``cache_home``.
        local_files_only: do not use the network.
        preferred: precisions of which one is enough, the best one first. The exporter can make each of them, a bundle
            on the hub may lack some.
        adds_to: the cached bundle that has none of ``preferred``, to add one. Its own precisions stay.
    """

    name: str
    precisions: Sequence[str] | None
    cache_dir: str | PathLike[str] | None
    local_files_only: bool = False
    preferred: Sequence[Precision] = ()
    adds_to: Bundle | None = None


def obtain(request: Request) -> Bundle:
    """Put a model's bundle into the cache and return it: from the hub if it holds a bundle, else by the exporter.

    Raises:
        BundleNotFoundError: the hub holds no bundle and none can be exported here.
        BundleError: the cache cannot be written, or the hub's bundle cannot be used.
        PrecisionNotFoundError: the hub's bundle lacks a precision, or none can be added to the cached bundle.
    """
    if request.adds_to:
        held, wanted = _names(request.adds_to), " or ".join(request.preferred)
        log_step(f"{'adding':<11}{wanted} to {request.adds_to.path}, which holds {held}")
    hub_failure: HubError | None = None
    is_hub_id = "/" in request.name and (request.adds_to is not None or not is_dir(Path(request.name)))
    if is_hub_id and not request.local_files_only:
        answer = _ask_hub(request, cached_path(request.name, request.cache_dir))
        if isinstance(answer, Bundle):
            return answer
        hub_failure = answer
    return _export(request, hub_failure)


def _ask_hub(request: Request, place: Path) -> Bundle | HubError | None:
    """Return the hub's bundle, or the one that another process has downloaded meanwhile; None if the hub has none.

    An error is returned if the hub does not say what it has: the exporter may still have the checkpoint on this
    machine.
    """
    with report_write_errors(place), queue_for(place):
        if request.adds_to is None and (bundle := _arrived(request, place)):
            return bundle
        try:
            snapshot = find_snapshot(request.name, read_commit(place))
        except HubError as error:
            return error
        return _download(request, snapshot, place) if MANIFEST in snapshot.files else None


def _arrived(request: Request, place: Path) -> Bundle | None:
    """Return the bundle in the cache, if it has the precisions that are asked for and is whole."""
    if not is_file(place / MANIFEST):
        return None
    bundle = Bundle.open(place)
    held = bundle.manifest.precisions.keys()
    has_all = set(request.precisions or ()) <= held
    has_one = not request.preferred or not held.isdisjoint(request.preferred)
    return bundle if has_all and has_one and bundle.is_whole() else None


def _download(request: Request, snapshot: Snapshot, place: Path) -> Bundle:
    if request.adds_to is None:
        return download(snapshot, place, precisions=request.precisions, preferred=request.preferred)
    try:
        # By naming the cached bundle's precisions, none is lost if the hub has another bundle by now.
        held = tuple(request.adds_to.manifest.precisions)
        return download(snapshot, place, precisions=held, preferred=request.preferred)
    except PrecisionNotFoundError:
        request.adds_to.pick_precision(None, preferred=request.preferred)  # raises the error with the command to type
        raise


def _export(request: Request, hub_failure: Exception | None) -> Bundle:
    """Have the bundle exported. This is the one place where the runtime exports."""
    with _export_errors(request, hub_failure):
        exporter = load_exporter()
        # An exporter would take a directory's name for a checkpoint. But "ckpt" must mean the same as "./ckpt", which
        # is the path of a bundle. A recipe's name always means the recipe, whatever is in the current directory.
        if is_dir(Path(request.name)) and not exporter.knows(request.name):
            if request.adds_to:
                raise CheckpointError(f"{request.name} is a directory, not a checkpoint's name")
            return Bundle.open(request.name)
        return exporter.export(
            request.name,
            precisions=request.precisions or request.preferred[:1] or ("int8",),
            cache_dir=request.cache_dir,
            local_files_only=request.local_files_only,
            hub_failure=hub_failure,
        )


@contextmanager
def _export_errors(request: Request, hub_failure: Exception | None) -> Iterator[None]:
    """Raise a BundleError that says what you can do, for each way in which the export in the block can fail."""
    name, cache_dir = request.name, request.cache_dir
    try:
        yield
    except CheckpointError as error:
        reason = hub_failure if hub_failure and isinstance(error.__cause__, HubError) else error
        if request.adds_to:
            raise _not_added(request, request.adds_to, reason, hub_failure) from error
        raise BundleNotFoundError(
            f"no bundle of {name!r} in {cache_home(cache_dir)}, and it cannot be exported: {reason}; "
            "or copy a bundle's directory to this machine and give its path"
        ) from error
    except OSError as error:
        place = f"{cache_home(cache_dir)} ({error.strerror or error})"
        raise BundleError(
            f"the bundle of {name!r} cannot be written to {place}; set EMBEDGE_HOME to a writable directory"
        ) from error
    except ImportError as error:
        if not isinstance(error, MissingExtraError | ModuleNotFoundError):
            raise
        if request.adds_to:
            raise _not_added(request, request.adds_to, error, hub_failure) from error
        raise BundleNotFoundError(_three_ways(request, hub_failure, error)) from error


def _three_ways(request: Request, hub_failure: Exception | None, missing: ImportError) -> str:
    """Return the message for the case that there is neither a bundle nor a working exporter."""
    reason = str(missing).partition("; ")[0]
    asked = f", and {hub_failure}" if hub_failure else ""
    return (
        f"no bundle of {request.name!r} in {cache_home(request.cache_dir)}{asked}, and it cannot be exported here "
        f"({reason}); do one of three things: "
        f"(1) run `pip install 'embedge[export]'`, and the first use exports it, "
        f"(2) run `embedge export {shlex.quote(request.name)}` on a machine with a network, "
        "(3) copy a bundle's directory to this machine and give its path"
    )


def _not_added(
    request: Request, cached: Bundle, export_failure: Exception, hub_failure: Exception | None
) -> PrecisionNotFoundError:
    """Return the error for a cached bundle to which no precision can be added, with the command to type."""
    wanted = request.preferred[0]
    command = f"`{adding_command(cached.manifest, wanted, cached.path)}`"
    if read_commit(cached.path):  # a download: its name is a bundle's, of which nothing can be exported
        offline = "local_files_only forbids to download it"
        cause = offline if request.local_files_only else _fact(hub_failure or export_failure)
    else:
        cause = f"it cannot be exported here ({_fact(export_failure)})"
        if isinstance(export_failure, ImportError):
            command = f"`pip install 'embedge[export]'`, then {command}"
    held = _names(cached)
    return PrecisionNotFoundError(f"{cached.path} holds {held}, not {wanted}, and {cause}; run {command}")


def _names(bundle: Bundle) -> str:
    """The names of a bundle's precisions."""
    return ", ".join(name for name in PRECISIONS if name in bundle.manifest.precisions)


def _fact(error: Exception) -> str:
    """The first part of an error's message, without the advice."""
    return str(error).partition("; ")[0]
