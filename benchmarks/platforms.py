"""Ask pip on which platforms every package that embedge needs has a wheel, and print a table of them.

python -m benchmarks.platforms --help

pip is asked for each platform and version of Python, with ``--dry-run --only-binary=:all:``, for the dependencies in
pyproject.toml and for hf-xet, which huggingface_hub needs on most machines. What they need beyond that has no compiled
wheels, or may do without.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
_HF_XET = "hf-xet>=1.6"  # huggingface_hub 1.x requires it where platform_machine is one of these:
_OF_HF_XET = ("x86_64", "amd64", "arm64", "aarch64")
_NO_WHEEL = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+?)(?=[<>=!~\s;]|$)")


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform, as pip knows it.

    Attributes:
        name: what the table calls it.
        tags: the platforms whose wheels it takes. pip adds older versions to those of macOS, and to no others.
    """

    name: str
    tags: tuple[str, ...]


def _glibc(newest: int, machine: str) -> tuple[str, ...]:
    """The tags of glibc 2.17 to 2.``newest``; pip adds none to a ``--platform``.

    >>> _glibc(18, "aarch64")
    ('manylinux_2_18_aarch64', 'manylinux_2_17_aarch64', 'manylinux2014_aarch64')
    """
    versions = range(newest, 16, -1)
    return (*(f"manylinux_2_{version}_{machine}" for version in versions), f"manylinux2014_{machine}")


PLATFORMS = (
    Platform(
        "Linux x86-64, glibc 2.28 (RHEL 8, Debian 10, Ubuntu 20.04, Amazon Linux 2023) or later", _glibc(28, "x86_64")
    ),
    Platform("Linux aarch64, glibc 2.28 or later", _glibc(28, "aarch64")),
    Platform("macOS 14 or later, Apple silicon", ("macosx_14_0_arm64",)),
    Platform("Windows x64", ("win_amd64",)),
    Platform("Windows arm64", ("win_arm64",)),
    Platform("Linux x86-64, glibc 2.27 (Ubuntu 18.04)", _glibc(27, "x86_64")),
    Platform("Linux x86-64, glibc 2.26 (Amazon Linux 2)", _glibc(26, "x86_64")),
    Platform("Linux x86-64, musl (Alpine)", ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64")),
    Platform("Linux aarch64, musl (Alpine)", ("musllinux_1_2_aarch64", "musllinux_1_1_aarch64")),
    Platform("Linux 32-bit ARM (Raspberry Pi OS, 32-bit)", (*_glibc(36, "armv7l"), "linux_armv7l")),
    Platform("macOS 13, Apple silicon", ("macosx_13_0_arm64",)),
    Platform("macOS, Intel", ("macosx_15_0_x86_64",)),
    Platform("Windows, 32-bit", ("win32",)),
)


def pip_command(requirements: Iterable[str], platform: Platform, python: str) -> list[str]:
    """The command that asks pip for the wheels of some requirements, and prints a report in JSON."""
    options = ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary=:all:", "--quiet", "--report=-"]
    tags = [f"--platform={tag}" for tag in platform.tags]
    target = ["--target=nowhere", f"--python-version={python}", "--implementation=cp"]
    return [sys.executable, "-m", "pip", "install", *options, *target, *tags, *requirements]


def missing_wheel(errors: str) -> str | None:
    """The package for which pip finds no wheel, from what it prints to stderr; None if it says nothing of one.

    >>> missing_wheel("ERROR: No matching distribution found for onnxruntime>=1.24.1\\n")
    'onnxruntime'
    """
    found = _NO_WHEEL.search(errors)
    return found[1] if found else None


def chosen_versions(report: str) -> dict[str, str]:
    """The versions that pip would install, by package, from its report."""
    found: dict[str, str] = {}
    for package in json.loads(report)["install"]:
        found[package["metadata"]["name"]] = package["metadata"]["version"]
    return found


def requirements_on(platform: Platform, dependencies: Iterable[str]) -> list[str]:
    """The dependencies, and hf-xet where huggingface_hub requires it."""
    return [*dependencies, *([_HF_XET] if platform.tags[0].endswith(_OF_HF_XET) else [])]


def ask(platform: Platform, python: str, requirements: list[str]) -> Mapping[str, str] | str:
    """The versions that pip would install, or the name of the first package that has no wheel.

    Raises:
        RuntimeError: pip fails for another reason, such as an index that does not answer.
    """
    done = subprocess.run(pip_command(requirements, platform, python), capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return chosen_versions(done.stdout)
    missing = missing_wheel(done.stderr)
    if missing is None:
        raise RuntimeError(f"pip failed for {platform.name} and Python {python}: {done.stderr.strip()}")
    return missing


def cell(platform: Platform, python: str, dependencies: list[str]) -> str:
    """The version of onnxruntime that pip would install, or the packages that have no wheel there."""
    remaining = {Requirement(line).name: line for line in requirements_on(platform, dependencies)}
    missing: list[str] = []
    while remaining:
        found = ask(platform, python, list(remaining.values()))
        if not isinstance(found, str):
            return f"no: {', '.join(missing)}" if missing else found["onnxruntime"]
        missing.append(found)
        del remaining[found]
    return f"no: {', '.join(missing)}"


def table(dependencies: list[str]) -> Iterator[str]:
    """The lines of the table in Markdown."""
    yield f"| platform | {' | '.join(PYTHONS)} |"
    yield f"|---|{'---|' * len(PYTHONS)}"
    for platform in PLATFORMS:
        yield f"| {platform.name} | {' | '.join(cell(platform, python, dependencies) for python in PYTHONS)} |"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Ask pip on which platforms every package that embedge needs has a wheel, and print a table of them.

    It takes some minutes, and downloads little but metadata. It needs pip 22.2 or later.

    \b
    python -m benchmarks.platforms > table.md
    """
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    for line in table(project["dependencies"]):
        click.echo(line)


if __name__ == "__main__":
    main()
