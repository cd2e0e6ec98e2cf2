"""Unpacks the wheels of another platform, by pip."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from embedge.errors import EmbedgeError, MissingExtraError
from embedge.ship.platforms import PLATFORMS
from embedge.ship.trim import PACKAGES

_OPTIONS = ("--no-deps", "--no-compile", "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check")
# What a user's settings of pip may say for other commands: install nothing, or elsewhere. An empty value means none.
_NEUTRAL = {"PIP_DRY_RUN": "0", "PIP_USER": "0", "PIP_PREFIX": "", "PIP_ROOT": ""}
_NONE_FOUND = "No matching distribution found for "


def pick_requirements(*, newest: bool) -> tuple[str, ...]:
    """Return what pip is to unpack: the versions that are installed here, or the newest that embedge allows.

    A package that is not installed here, such as onnxruntime where onnxruntime-gpu takes its place, is the newest, too.
    """
    allowed = _allowed()
    installed = {name: found for name in PACKAGES if not newest and (found := _installed(name))}
    return tuple(f"{name}=={installed[name]}" if name in installed else allowed.get(name, name) for name in PACKAGES)


def _installed(name: str) -> str | None:
    try:
        return Version(version(name)).public
    except PackageNotFoundError:
        return None


def _allowed() -> dict[str, str]:
    """The versions that embedge allows, such as ``numpy>=1.26``, by package."""
    try:
        found = [Requirement(line) for line in requires("embedge") or ()]
    except PackageNotFoundError:  # a source tree that is not installed
        return {}
    return {one.name: f"{one.name}{one.specifier}" for one in found if one.marker is None}


def unpack_wheels(folder: Path, requirements: Sequence[str], *, platform: str, python: str) -> None:
    """Unpack one wheel of each requirement into a folder, as pip would install it on that platform.

    pip reads its own settings, such as PIP_INDEX_URL, and keeps what it downloads in its own cache.

    Raises:
        MissingExtraError: pip is not installed.
        EmbedgeError: there is no such wheel, or pip fails.
        OSError: the disk is full.
    """
    if find_spec("pip") is None:
        raise MissingExtraError(
            f"pip is not installed for {sys.executable}; run `{sys.executable} -m ensurepip`, or `uv pip install pip`"
        )
    target = [f"--target={folder}", f"--python-version={python}", "--implementation=cp"]
    tags = [f"--platform={tag}" for tag in PLATFORMS[platform].tags]
    command = [sys.executable, "-m", "pip", "install", *_OPTIONS, *target, *tags, *requirements]
    # pip's temporary files are in a folder of our own, which goes even if this process is stopped and pip is killed.
    with tempfile.TemporaryDirectory(prefix="embedge-ship-", ignore_cleanup_errors=True) as scratch:
        own = {**os.environ, **_NEUTRAL, "TMPDIR": scratch, "TEMP": scratch, "TMP": scratch}
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=own, check=False)
    if done.returncode:
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise EmbedgeError(_failure(done.stderr, platform=platform, python=python))
    for name in (Requirement(one).name for one in requirements):
        if not (folder / name).is_dir():
            raise EmbedgeError(
                f"pip ended without an error, and unpacked no {name}; run `{sys.executable} -m pip config list` to see "
                "your settings of pip"
            )


def _failure(output: str, *, platform: str, python: str) -> str:
    """Return the error that pip's output means."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("[notice]")]
    said = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no output")
    said = lines[-1] if said == "ERROR: Exception:" else said.removeprefix("ERROR:").strip()  # a traceback follows
    if _NONE_FOUND not in said:
        return f"pip cannot get the wheels: {said}; if the network or the disk is not the cause, run `{_upgrade()}`"
    package = said.partition(_NONE_FOUND)[2]
    if any("from versions: none" in line for line in lines):
        reason = f"pip finds no wheel of {package} for {platform} and Python {python}"
        return f"{reason}; pass another --platform or --python, or check the network and PIP_INDEX_URL"
    reason = f"{package}, the version that is installed here, has no wheel for {platform} and Python {python}"
    return f"{reason}; pass --newest, or another --python"


def _upgrade() -> str:
    return f"{sys.executable} -m pip install --upgrade pip"
