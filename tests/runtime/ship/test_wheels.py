"""pip: which wheels it is asked for, and what its failures become."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from embedge import EmbedgeError, MissingExtraError
from embedge.ship import wheels
from embedge.ship.trim import PACKAGES
from embedge.ship.wheels import pick_requirements, unpack_wheels
from fake_wheels import write_wheel


@pytest.mark.usefixtures("fake_wheels")
@pytest.mark.parametrize("platform", ["linux-x86_64", "linux-aarch64"])
def test_wheels_of_all_linux_tags_are_found(tmp_path: Path, platform: str) -> None:
    """One tag is not enough: tokenizers has 2.17, numpy and onnxruntime have 2.28."""
    unpack_wheels(tmp_path / "out", pick_requirements(newest=True), platform=platform, python="3.13")
    assert {"numpy", "onnxruntime", "tokenizers"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("platform", "tag"),
    [
        ("macos-arm64", "cp313-cp313-macosx_11_0_arm64"),
        ("macos-arm64", "cp313-cp313-macosx_14_0_arm64"),
        ("windows-x86_64", "cp313-cp313-win_amd64"),
        ("windows-arm64", "cp313-cp313-win_arm64"),
        ("linux-aarch64", "cp313-cp313-manylinux_2_24_aarch64"),
    ],
)
def test_wheels_of_other_platforms_are_found(no_index: Path, tmp_path: Path, platform: str, tag: str) -> None:
    write_wheel(no_index, "tokenizers", tag)
    unpack_wheels(tmp_path / "out", ["tokenizers"], platform=platform, python="3.13")
    assert (tmp_path / "out" / "tokenizers" / "__init__.py").is_file()


@pytest.mark.usefixtures("fake_wheels")
@pytest.mark.parametrize(("platform", "python"), [("macos-arm64", "3.13"), ("linux-x86_64", "3.12")])
def test_a_wheel_that_does_not_exist_is_named(tmp_path: Path, platform: str, python: str) -> None:
    message = f"pip finds no wheel of numpy.* for {platform} and Python {python}; pass another --platform or --python"
    with pytest.raises(EmbedgeError, match=message):
        unpack_wheels(tmp_path / "out", ["numpy"], platform=platform, python=python)


@pytest.mark.usefixtures("fake_wheels")
def test_an_installed_version_that_the_target_lacks_is_named(tmp_path: Path) -> None:
    message = "numpy==98.5, the version that is installed here, has no wheel for linux-x86_64.*; pass --newest"
    with pytest.raises(EmbedgeError, match=message):
        unpack_wheels(tmp_path / "out", ["numpy==98.5"], platform="linux-x86_64", python="3.13")


def test_another_failure_of_pip_is_quoted(no_index: Path, tmp_path: Path) -> None:
    (no_index / "tokenizers-99.0-py3-none-any.whl").write_bytes(b"no wheel")
    with pytest.raises(
        EmbedgeError, match="pip cannot get the wheels: .*tokenizers-99.0.* run `.*pip install --upgrade"
    ):
        unpack_wheels(tmp_path / "out", ["tokenizers"], platform="linux-x86_64", python="3.13")


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ("OSError: [Errno 28] No space left on device", "No space left on device"),
        ("KeyError: 'x'", "pip cannot get the wheels: KeyError: 'x'; if the network or the disk is not the cause"),
    ],
)
def test_a_full_disk_and_a_crash_of_pip_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, error: str
) -> None:
    said = f"ERROR: Exception:\nTraceback (most recent call last):\n  File 'x', line 1\n{last}\n"
    done = subprocess.CompletedProcess("pip", 2, stdout="", stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: done)
    with pytest.raises((OSError, EmbedgeError), match=error):
        unpack_wheels(tmp_path / "out", ["tokenizers"], platform="linux-x86_64", python="3.13")


@pytest.mark.usefixtures("fake_wheels")
@pytest.mark.parametrize("name", ["PIP_DRY_RUN", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_TARGET"])
def test_settings_of_pip_for_other_commands_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1" if name in ("PIP_DRY_RUN", "PIP_USER") else str(tmp_path / "elsewhere"))
    unpack_wheels(tmp_path / "out", ["numpy"], platform="linux-x86_64", python="3.13")
    assert (tmp_path / "out" / "numpy" / "__init__.py").is_file()
    assert not (tmp_path / "elsewhere").exists()


def test_a_package_that_pip_did_not_unpack_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess("pip", 0, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: done)
    with pytest.raises(EmbedgeError, match="unpacked no tokenizers; run `.* -m pip config list` to see"):
        unpack_wheels(tmp_path / "out", ["tokenizers==1.0"], platform="linux-x86_64", python="3.13")


def test_without_pip_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip is not installed for .*; run `.* -m ensurepip`"):
        unpack_wheels(tmp_path / "out", ["numpy"], platform="linux-x86_64", python="3.13")


def test_the_installed_versions_are_shipped() -> None:
    assert pick_requirements(newest=False) == tuple(f"{name}=={version(name)}" for name in PACKAGES)


def test_the_newest_versions_are_those_that_embedge_allows() -> None:
    found = pick_requirements(newest=True)
    assert [one.partition(">=")[0] for one in found] == list(PACKAGES)
    assert all(">=" in one and "==" not in one for one in found)
