"""Damage: a file of a bundle is truncated, extended, changed by a bit, missing, or not a regular file.

embedge must refuse the bundle. Where loading does not read the file, the vectors must be the same as before.
"""

import os
import shutil
import socket
from pathlib import Path
from random import Random

from campaign.mutate import change_bytes
from campaign.trial import Bench, FaultError, check_same
from embedge import Bundle, BundleCorruptError, Embedder, EmbedgeError


def _replace(path: Path, random: Random) -> str:
    """Replace a file by something else."""
    path.unlink()
    way = random.choice(("nothing", "a directory", "a FIFO", "a socket", "an empty file", "/dev/zero", "/dev/full"))
    if way == "a directory":
        path.mkdir()
    elif way == "a FIFO":
        os.mkfifo(path)
    elif way == "a socket":
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket has at most about 100 bytes
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
        os.chdir(here)
    elif way == "an empty file":
        path.touch()
    elif way.startswith("/"):
        path.symlink_to(way)
    return f"{way} in its place"


def _link(path: Path, random: Random) -> str:
    """Replace a file by a link: to nothing, itself, another file, a FIFO, or a copy of the file."""
    other = path.with_name(f"{path.name}.other")
    path.rename(other)
    way = random.choice(("the same", "nothing", "itself", "another file", "a directory", "a FIFO"))
    target = {"itself": path.name, "another file": "/etc/hostname", "a directory": "/tmp"}.get(way, other.name)
    if way in ("nothing", "a FIFO"):
        other.unlink()
    if way == "a FIFO":
        os.mkfifo(other)
    path.symlink_to(target)
    return f"a link to {way} in its place"


def _damage(path: Path, random: Random) -> str:
    what, data = change_bytes(path.read_bytes(), random)
    path.write_bytes(data)
    return what


def trial(bench: Bench, random: Random) -> None:
    """Damage one file of a copy of the bundle, then check and load the copy."""
    bundle = Path(shutil.copytree(bench.bundle, bench.folder / "bundle"))
    precision = random.choice(("int8", "fp32"))
    names = [*Bundle.open(bundle).manifest.files, "embedge.json"]
    name = random.choice(names)
    ways = (_replace, _link) if name == "embedge.json" else (_damage, _damage, _replace, _link)
    what = f"{name} with {random.choice(ways)(bundle / name, random)}"
    harmless = what.endswith("a link to the same in its place")
    try:
        Bundle.open(bundle).check()
        found_whole = True
    except BundleCorruptError:
        found_whole = False
    except EmbedgeError:
        if name == "embedge.json":
            raise
        raise FaultError(f"the manifest is refused for another file: {what}") from None
    if found_whole and not harmless:
        raise FaultError(f"check() finds nothing: {what}")
    check_same(Embedder(bundle, precision=precision, threads=1), bench, what)  # type: ignore[arg-type]
