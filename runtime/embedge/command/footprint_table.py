"""A footprint as a table for people."""

from collections.abc import Iterator

from embedge.command.footprint import TRIM, BundleFiles, Footprint, Size

_NOTE = """\
installed: as pip installs it, without __pycache__; trimmed: without the files below; needed: trimmed, and without the
packages that are never imported, and the files of a bundle that are never read, where Embedder is given its path."""


def table(footprint: Footprint) -> str:
    """Megabytes (1e6) of every package and file, totals, and what may be deleted with the reason."""
    rows = list(_rows(footprint))
    width = max(len(name) for name, _ in rows)
    lines = [f"{'MB on disk':<{width}}  installed    trimmed     needed"]
    lines += [f"{name:<{width}}{_cells(size)}" if size else name for name, size in rows]
    lines += [f"not installed: {', '.join(footprint.missing)}"] if footprint.missing else []
    return "\n".join([*lines, "", _NOTE, "", "may be deleted, MB:", *_deletable(footprint)])


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
    """The three numbers; a dash for one that is nothing.

    >>> _cells(Size(installed=2_060_000, trimmed=40_000, needed=0))
    '       2.06       0.04          -'
    """
    values = (size.installed, size.trimmed, size.needed)
    return "".join(f"{value / 1e6:>11.2f}" if value else f"{'-':>11}" for value in values)


def _deletable(footprint: Footprint) -> Iterator[str]:
    for package in footprint.packages:
        for pattern, size in package.deletable.items():
            yield f"{size / 1e6:>6.2f}  {pattern} of {package.name}: {TRIM[package.name][pattern]}"
