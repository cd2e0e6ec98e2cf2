"""Copies a bundle to another directory, for a machine without network access."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from embedge.bundle.cut import cut
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import MANIFEST, Manifest
from embedge.bundle.paths import expand, resolve_links
from embedge.bundle.precision import pick_precisions
from embedge.bundle.remedy import export_command
from embedge.bundle.staging import existing_bundle, lock_destination, report_write_errors, staging
from embedge.bundle.write_files import local_blocks, write_bundle
from embedge.errors import BundleError


def copy_bundle(bundle: Bundle, destination: Path, *, precisions: Sequence[str] | None = None) -> Bundle:
    """Copy the files that a bundle's manifest names, and check every one. The copy appears complete or not at all.

    The copy consists of regular files, without links, so a USB stick or a container image can hold it.

    Args:
        bundle: the bundle to copy.
        destination: a directory that does not exist, is empty, or holds a bundle of the same checkpoint.
        precisions: the graphs to copy; None copies all. The copy's manifest and config.json name only these.

    Returns:
        The copy.

    Raises:
        BundleCorruptError: a file differs from the manifest.
        BundleError: something else is at the destination, or it cannot be written.
        InputValueError: there is no such precision.
        PrecisionNotFoundError: the bundle lacks a precision.
    """
    target = resolve_links(expand(destination, what="the copy's directory"), what="the copy's directory")
    source = resolve_links(bundle.path, what="the bundle's directory")
    if target == source or source in target.parents or target in source.parents:
        raise BundleError(f"{destination} is the bundle's directory, contains it or is inside it; pass -o another one")
    text = Bundle.read_manifest(source)
    # The manifest may have changed since the bundle was opened.
    offered = Manifest.from_json(text, where=str(source / MANIFEST))
    picked: tuple[str, ...] = tuple(offered.precisions)
    if precisions:
        command = partial(export_command, offered, output=bundle.path)
        picked = pick_precisions(offered, precisions, where=str(bundle.path), command=command)

    def read(name: str) -> Iterator[bytes]:
        return local_blocks(source / name)

    left = cut(text, picked, read, where=str(bundle.path))
    manifest = Manifest.from_json(left.text, where=str(source / MANIFEST))
    with report_write_errors(target), lock_destination(target):
        old = existing_bundle(target)
        if old and old.manifest.source.checkpoint_sha256 != manifest.source.checkpoint_sha256:
            raise BundleError(
                f"{destination} holds a bundle of another checkpoint, {old.manifest.source.origin}; "
                "pass -o another directory, or delete this one first"
            )
        if old is None or old.manifest != manifest or not old.is_whole():
            with staging(target, replaces=old) as (folder, _):
                write_bundle(left.text, left.reads(read), folder, where=str(bundle.path))
    return Bundle(destination, manifest)
