"""A bundle -> another directory, for a machine without a network: every file checked, whole or not at all."""

from collections.abc import Sequence
from pathlib import Path

from embedge.bundle.copy_files import local_blocks, narrow, pick_precisions, transfer
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST, Manifest
from embedge.bundle.paths import expand, resolve_links
from embedge.bundle.staging import existing_bundle, lock_destination, staging, writing
from embedge.errors import BundleError


def copy_bundle(bundle: Bundle, destination: Path, *, precisions: Sequence[str] | None = None) -> Bundle:
    """Copy the files that the manifest names, and nothing else that may be in the directory.

    Args:
        bundle: what is copied.
        destination: a directory that is not there yet, is empty, or holds a bundle of the same checkpoint.
        precisions: of the graphs to copy; None is all. The copy's manifest names only these.

    Returns:
        The copy; real files, on the disk.

    Raises:
        BundleCorruptError: a file is not what was exported.
        BundleError: something else is at the destination, or it cannot be written.
        PrecisionNotFoundError: the bundle lacks a precision.
    """
    place = resolve_links(expand(destination, what="the copy's directory"), what="the copy's directory")
    source = resolve_links(bundle.path, what="the bundle's directory")
    if place == source or source in place.parents or place in source.parents:
        raise BundleError(f"{destination} is the bundle itself, or holds it or is in it; give -o another directory")
    text = Bundle.read_manifest(source)
    Manifest.from_json(text, where=str(source / MANIFEST))  # it may be another than when the bundle was opened
    wanted = pick_precisions(bundle.manifest, precisions or tuple(bundle.manifest.precisions), where=str(bundle.path))
    text = narrow(text, wanted)
    manifest = Manifest.from_json(text, where=str(source / MANIFEST))
    with writing(place), lock_destination(place):
        before = existing_bundle(place)
        if before and before.manifest.source.checkpoint_sha256 != manifest.source.checkpoint_sha256:
            raise BundleError(
                f"{destination} holds a bundle of another checkpoint, {before.manifest.source.origin}; "
                "give -o another directory, or delete it first"
            )
        if before is None or before.manifest != manifest or not before.is_whole():
            with staging(place, keep=None, drop=before) as (folder, _):
                transfer(text, lambda name: local_blocks(source / name), folder, where=str(bundle.path))
    return Bundle(destination, manifest)
