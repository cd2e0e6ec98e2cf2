"""Debian packages of any architecture, without installing them: fetched by apt with a state of its own, unpacked."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

RELEASE = "bookworm"
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CONFIG = """\
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::main "-";
Dir::Etc::parts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
"""
_SOURCES = """\
deb [signed-by={keys}] http://deb.debian.org/debian {release} main
deb [signed-by={keys}] http://deb.debian.org/debian-security {release}-security main
"""


class CannotEmulateError(Exception):
    """What the check needs cannot be had on this machine."""


def unpack_packages(names: Sequence[str], *, architecture: str, folder: Path) -> Path:
    """The files of packages and of all they depend on, below a folder.

    Args:
        names: of packages.
        architecture: Debian's name of it, such as ``arm64``.
        folder: an empty one, for apt's state and the result.

    Returns:
        The root that the packages are unpacked in.

    Raises:
        CannotEmulateError: this is not a Debian, or its mirror cannot be reached.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise CannotEmulateError(f"{tool} is not installed: the emulated machine is made of Debian packages")
    if not _KEYS.is_file():
        raise CannotEmulateError(f"{_KEYS} is missing; `apt-get install debian-archive-keyring` brings it")
    for name in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(_SOURCES.format(keys=_KEYS, release=RELEASE))
    (folder / "apt.conf").write_text(_CONFIG.format(architecture=architecture, folder=folder))
    _apt(folder, "update")
    _apt(folder, "install", "--download-only", "--yes", "--no-install-recommends", *names)
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(folder / "root")], check=True)
    return folder / "root"


def _apt(folder: Path, *arguments: str) -> None:
    command = ["apt-get", "-c", str(folder / "apt.conf"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotEmulateError(f"`apt-get {arguments[0]}` failed: {said[-1] if said else done.returncode}")
