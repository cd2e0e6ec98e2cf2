"""The bytes of an output by part, and what they mean at the limits of AWS Lambda."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from embedge.ship.places import BUNDLE, PLACES, PlaceName
from embedge.ship.trim import PACKAGES

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html writes 50 MB, 250 MB and 10 GB. The service's
# own errors say which megabytes: "Zipped size must be smaller than 52428800 bytes", "Unzipped size must be smaller than
# 262144000 bytes".
MOST_ZIPPED, MOST_UNPACKED, LARGEST_IMAGE = 52_428_800, 262_144_000, 10 * 1024**3
BYTECODE, OTHER = "bytecode", "other files"
PARTS = ("onnxruntime", "numpy", "tokenizers", "embedge", BYTECODE, BUNDLE, OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartSize:
    """Bytes of a part of an output.

    Attributes:
        unpacked: the sizes of its files.
        zipped: what they take in the ZIP file; 0 where there is none.
    """

    unpacked: int
    zipped: int


def sizes_by_part(folder: Path, place: PlaceName, zipped: Mapping[str, int]) -> dict[str, PartSize]:
    """Return the size of each part of an output.

    Args:
        folder: the output's files, unpacked.
        place: its layout.
        zipped: the size of each file in the ZIP file, by its path; empty where there is none.
    """
    sums = {part: [0, 0] for part in PARTS}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        part = sums[part_of(name, PLACES[place].packages)]
        part[0] += path.stat().st_size
        part[1] += zipped.get(name, 0)
    return {name: PartSize(unpacked=unpacked, zipped=packed) for name, (unpacked, packed) in sums.items() if unpacked}


def part_of(file: str, packages: str) -> str:
    """Return the part that a file belongs to.

    Args:
        file: its path in the output.
        packages: the folder of the packages; empty for the output itself.

    >>> part_of("python/numpy.libs/libgfortran.so", "python"), part_of("numpy/__pycache__/x.cpython-313.pyc", "")
    ('numpy', 'bytecode')
    >>> part_of("embedge-ship.json", ""), part_of("embedge-0.1.0.dist-info/METADATA", "")
    ('other files', 'embedge')
    """
    if file.startswith(f"{BUNDLE}/"):
        return BUNDLE
    if file.endswith(".pyc"):
        return BYTECODE
    top = file.removeprefix(f"{packages}/" if packages else "").partition("/")[0]
    if top.endswith(".dist-info"):
        top = top.partition("-")[0]
    return next((name for name in (*PACKAGES, "embedge") if top in (name, f"{name}.libs")), OTHER)


def limits(place: PlaceName, parts: Mapping[str, PartSize]) -> Iterator[str]:
    """Yield a line for each limit of the place: whether the output meets it, and what to do if not."""
    unpacked, zipped = (sum(getattr(part, kind) for part in parts.values()) for kind in ("unpacked", "zipped"))
    if place in ("lambda", "layer"):
        if zipped:
            yield _compare("direct upload", zipped, MOST_ZIPPED, "upload it to S3, and deploy it from there")
        yield _compare(
            "unpacked, with all layers", unpacked, MOST_UNPACKED, "use --container, whose images may have 10 GB"
        )
    elif place == "container":
        yield _compare("image, without its base", unpacked, LARGEST_IMAGE, "use a smaller model")


def is_too_large(place: PlaceName, parts: Mapping[str, PartSize]) -> bool:
    """Whether Lambda refuses the output however it is uploaded."""
    unpacked = sum(part.unpacked for part in parts.values())
    return unpacked > {"lambda": MOST_UNPACKED, "layer": MOST_UNPACKED, "container": LARGEST_IMAGE}.get(place, unpacked)


def _compare(what: str, size: int, most: int, remedy: str) -> str:
    """One line about a limit.

    >>> _compare("direct upload", 50, 60, "use S3")
    'direct upload: fits, 50 of at most 60 bytes'
    """
    if size <= most:
        return f"{what}: fits, {size:,} of at most {most:,} bytes"
    return f"{what}: too large, {size:,} of at most {most:,} bytes; {remedy}"
