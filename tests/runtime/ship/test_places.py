"""Platforms, Pythons and limits, and the sentences about them."""

import platform
import sys
from pathlib import Path

import pytest

from embedge import InputValueError
from embedge.ship.places import PLACES, default_platform, note
from embedge.ship.platforms import check_python, this_platform
from embedge.ship.sizes import MOST_UNPACKED, MOST_ZIPPED, PartSize, is_too_large, limits


@pytest.mark.parametrize(
    ("system", "machine", "here", "function"),
    [
        ("linux", "x86_64", "linux-x86_64", "linux-x86_64"),
        ("linux", "aarch64", "linux-aarch64", "linux-aarch64"),
        ("darwin", "arm64", "macos-arm64", "linux-aarch64"),
        ("win32", "AMD64", "windows-x86_64", "linux-x86_64"),
        ("win32", "ARM64", "windows-arm64", "linux-aarch64"),
    ],
)
def test_the_default_is_this_machine_and_for_lambda_its_processor(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, here: str, function: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert (default_platform("folder"), default_platform("lambda")) == (here, function)


def test_a_machine_without_wheels_is_told_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(InputValueError, match="riscv64; pass --platform linux-x86_64 or linux-aarch64 or macos-arm64"):
        this_platform()


@pytest.mark.parametrize("version", ["3", "3.13.1", "3.x", "", "2.7", "3.10", "4.11", "٣.13"])
def test_a_version_that_is_none_or_too_old_is_an_error(version: str) -> None:
    with pytest.raises(InputValueError, match=r"3\.1[13]"):
        check_python(version)


def test_versions_that_embedge_runs_on_are_taken() -> None:
    assert [check_python(version) for version in ("3.11", "3.14")] == ["3.11", "3.14"]


def test_the_limits_are_those_of_lambdas_errors() -> None:
    """They are: Zipped size must be smaller than 52428800 bytes; Unzipped size must be smaller than 262144000 bytes."""
    assert (MOST_ZIPPED, MOST_UNPACKED) == (52428800, 262144000)
    parts = {"numpy": PartSize(unpacked=MOST_UNPACKED, zipped=MOST_ZIPPED - 1), "x": PartSize(unpacked=1, zipped=2)}
    direct, unpacked = limits("lambda", parts)
    assert direct == (
        "direct upload: too large, 52,428,801 of at most 52,428,800 bytes; upload it to S3, and deploy it from there"
    )
    assert unpacked.startswith("unpacked, with all layers: too large, 262,144,001 of at most 262,144,000 bytes")
    assert is_too_large("layer", parts)
    assert not is_too_large("container", parts)
    assert not is_too_large("folder", parts)
    assert list(limits("folder", parts)) == []


def test_every_output_has_a_note(tmp_path: Path) -> None:
    for place in PLACES:
        for half in (None, "packages", "bundle") if place in ("lambda", "layer") else (None,):
            assert note(place, half, tmp_path, "embed")
    assert str(tmp_path) in note("container", None, tmp_path, "embed")


def test_the_zip_of_a_folder_is_to_be_unpacked(tmp_path: Path) -> None:
    """Python cannot import numpy from it."""
    said = note("folder", None, tmp_path / "app.zip", "embed")
    assert said.startswith(f"unpack {tmp_path / 'app.zip'} to a folder, and put {tmp_path / 'app'} on PYTHONPATH")
    assert f'Embedder("{tmp_path / "app"}/bundle")' in said


def test_a_rerankers_note_has_its_class(tmp_path: Path) -> None:
    assert f'Reranker("{tmp_path}/bundle")' in note("folder", None, tmp_path, "rerank")
