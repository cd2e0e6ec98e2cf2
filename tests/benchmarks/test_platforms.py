"""platforms.py: what pip answers is read rightly; and docs/platforms.md and the classifiers say what was found."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import platforms
from benchmarks.platforms import PLATFORMS, PROJECT, PYTHONS, Platform, cell, chosen_versions, missing_wheel

LINUX = PLATFORMS[0]
PAGE = (Path(__file__).parents[2] / "docs" / "platforms.md").read_text(encoding="utf-8")
# What pip 26.3 printed for musllinux, with notices of its own around.
REFUSED = """WARNING: The directory is not owned by the current user
ERROR: Could not find a version that satisfies the requirement onnxruntime>=1.24.1 (from versions: none)
ERROR: No matching distribution found for onnxruntime>=1.24.1
"""


def report(**versions: str) -> str:
    """A report of pip, cut down to what it must have (https://pip.pypa.io/en/stable/reference/installation-report)."""
    packages = ", ".join(f'{{"metadata": {{"name": "{name}", "version": "{versions[name]}"}}}}' for name in versions)
    return f'{{"version": "1", "install": [{packages}]}}'


@pytest.mark.parametrize(
    ("errors", "name"),
    [
        (REFUSED, "onnxruntime"),
        ("ERROR: No matching distribution found for hf-xet\n", "hf-xet"),
        ("ERROR: No matching distribution found for tokenizers<1,>=0.20.2\n", "tokenizers"),
        ("ERROR: No matching distribution found for numpy (unavailable)\n", "numpy"),
        ("ERROR: Could not fetch URL https://pypi.org/simple/numpy/: connection error\n", None),
    ],
)
def test_the_package_without_a_wheel_is_found(errors: str, name: str | None) -> None:
    assert missing_wheel(errors) == name


def test_the_versions_are_those_of_the_report() -> None:
    assert chosen_versions(report(onnxruntime="1.32.0", numpy="2.4.6")) == {"onnxruntime": "1.32.0", "numpy": "2.4.6"}


def answers(monkeypatch: pytest.MonkeyPatch, *lacking: str, error: str = "") -> None:
    """A pip that lacks the wheels of some packages, and names one at a time, as pip does."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked = [re.split("[<>=]", word)[0] for word in command if not word.startswith("-")][3:]
        missing = [name for name in asked if name in lacking]
        if error or missing:
            said = error or f"ERROR: No matching distribution found for {missing[0]}>=1\n"
            return subprocess.CompletedProcess(command, 1, "", said)
        return subprocess.CompletedProcess(command, 0, report(**dict.fromkeys(asked, "1.2.3")), "")

    monkeypatch.setattr(platforms.subprocess, "run", run)  # type: ignore[attr-defined]


def test_every_package_without_a_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "numpy", "hf-xet")
    assert cell(LINUX, "3.13", ["numpy>=1.26", "onnxruntime>=1.24.1", "click>=8"]) == "no: numpy, hf-xet"


def test_a_platform_with_all_wheels_shows_the_version_of_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "hf-xet")
    plain = Platform("32-bit", ("win32",))  # there, huggingface_hub does without hf-xet
    assert cell(plain, "3.13", ["onnxruntime>=1.24.1"]) == "1.2.3"


def test_an_index_that_does_not_answer_is_no_missing_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, error="ERROR: Could not fetch URL https://pypi.org/simple/numpy/\n")
    with pytest.raises(RuntimeError, match="pip failed for Linux x86-64.*Could not fetch URL"):
        cell(LINUX, "3.13", ["numpy>=1.26"])


def rows() -> dict[str, list[str]]:
    """The cells of the page's table, by platform."""
    lines = [
        line.strip("| ").split(" | ") for line in PAGE.partition("## Wheels")[2].splitlines() if line.startswith("| ")
    ]
    return {name: cells for name, *cells in lines}


def test_the_page_has_the_platforms_and_pythons_of_the_script() -> None:
    table = rows()
    assert table.pop("platform") == list(PYTHONS)
    assert list(table) == [platform.name for platform in PLATFORMS]


def test_the_classifiers_name_what_has_wheels() -> None:
    classifiers: list[str] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["classifiers"]
    works = [name for name, cells in rows().items() if all(re.fullmatch(r"[\d.]+", cell) for cell in cells)]
    systems = {"Linux": "POSIX :: Linux", "macOS": "MacOS", "Windows": "Microsoft :: Windows"}
    named = {system for name in works for system in systems if name.startswith(system)}
    found = {line for line in classifiers if line.startswith("Operating System")}
    assert found == {f"Operating System :: {systems[system]}" for system in named}
    assert {line.rpartition(" ")[2] for line in classifiers if ":: 3." in line} == set(PYTHONS)
