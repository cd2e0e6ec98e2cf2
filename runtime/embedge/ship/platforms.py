"""The platforms that the wheels of all packages exist for, and the tags by which pip finds them."""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from embedge.errors import InputValueError, short

_OLDEST_PYTHON = (3, 11)  # requires-python in pyproject.toml
# The wheels of onnxruntime need glibc 2.27 or 2.28, those of tokenizers 2.17. pip takes a wheel only if one of its tags
# is given, and infers no older one from manylinux_2_28, so all are given.
_GLIBC = range(28, 16, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform to ship to.

    Attributes:
        tags: the platform tags that pip accepts wheels of, the best first.
        system: ``sys.platform`` there.
        machine: ``platform.machine()`` there, in lower case.
    """

    tags: tuple[str, ...]
    system: str
    machine: str


def _linux(machine: str) -> Platform:
    tags = (*(f"manylinux_2_{minor}_{machine}" for minor in _GLIBC), f"manylinux2014_{machine}")
    return Platform(tags=tags, system="linux", machine=machine)


PLATFORMS: Mapping[str, Platform] = {
    "linux-x86_64": _linux("x86_64"),
    "linux-aarch64": _linux("aarch64"),
    # pip infers the older versions of macOS by itself.
    "macos-arm64": Platform(tags=("macosx_14_0_arm64",), system="darwin", machine="arm64"),
    "windows-x86_64": Platform(tags=("win_amd64",), system="win32", machine="amd64"),
    "windows-arm64": Platform(tags=("win_arm64",), system="win32", machine="arm64"),
}


def this_platform() -> str:
    """Return the name of the platform that runs this process.

    Raises:
        InputValueError: there are no wheels for it.
    """
    machine = platform.machine().lower()
    for name, known in PLATFORMS.items():
        if (known.system, known.machine) == (sys.platform, machine):
            return name
    raise InputValueError(
        f"there are no wheels for this machine, {sys.platform} {machine}; pass --platform {' or '.join(PLATFORMS)}"
    )


def this_python() -> str:
    """Return the minor version of this Python, such as ``3.13``."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def check_python(version: str) -> str:
    """Return a minor version of Python, such as ``3.13``, if embedge runs on it.

    Raises:
        InputValueError: it is not of this form, or embedge does not run on it.

    >>> check_python("3.13")
    '3.13'
    """
    parts = version.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise InputValueError(f"--python must be a version such as 3.13, found {short(version)}")
    if (int(parts[0]), int(parts[1])) < _OLDEST_PYTHON or parts[0] != "3":
        raise InputValueError(f"embedge needs Python 3.11 or later, found --python {short(version, write=str)}")
    return version
