"""The table that `embedge info --footprint` prints."""

from collections.abc import Iterator

from embedge.command.footprint import BundleFiles, Footprint, Size, trimmed_as
from embedge.ship.trim import TRIM

_NOTE = """\
installed: as pip installs it, without __pycache__
trimmed: without the files below
needed: trimmed, and only what Embedder(PATH) imports and reads"""


def table(footprint: Footprint) -> str:
    """Return the megabytes (1e6) of each package and file, totals, and the files that you can delete, with reasons."""
    rows = list(_rows(footprint))
    width = max(len(name) for name, _ in rows)
    lines = [f"{'MB on disk':<{width}}  installed    trimmed     needed"]
    lines += [f"{name:<{width}}{_cells(size)}" if size else name for name, size in rows]
    lines += [f"not installed: {', '.join(footprint.missing)}"] if footprint.missing else []
    return "\n".join([*lines, "", _NOTE, "", "you can delete, MB:", *_deletable(footprint)])


def _rows(footprint: Footprint) -> Iterator[tuple[str, Size | None]]:
    packages = Size.sum(package.size for package in footprint.packages)
    yield from ((f"{package.name} {package.version}", package.size) for package in footprint.packages)
    yield f"{len(footprint.packages)} packages", packages
    for bundle in footprint.bundles:
        yield from _bundle_rows(bundle)
        yield f"packages and {bundle.model}", Size.sum([packages, *bundle.files.values()])


def _bundle_rows(bundle: BundleFiles) -> Iterator[tuple[str, Size | None]]:
    yield "", None
    yield f"{bundle.path}, {bundle.precision}", None
    yield from bundle.files.items()


def _cells(size: Size) -> str:
    """The three numbers; a dash for zero.

    >>> _cells(Size(installed=2_060_000, trimmed=40_000, needed=0))
    '       2.06       0.04          -'
    """
    values = (size.installed, size.trimmed, size.needed)
    return "".join(f"{value / 1e6:>11.2f}" if value else f"{'-':>11}" for value in values)


def _deletable(footprint: Footprint) -> Iterator[str]:
    for package in footprint.packages:
        reasons = TRIM.get(trimmed_as(package.name), {})
        for pattern, size in package.deletable.items():
            yield f"{size / 1e6:>6.2f}  {pattern} of {package.name}: {reasons[pattern]}"
