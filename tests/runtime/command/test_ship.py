"""`embedge ship`: its options, what it prints, and its errors in one line."""

from pathlib import Path

import pytest
from click.testing import Result

from commands import runner
from embedge import Bundle
from embedge.command.main import cli
from embedge.ship import assemble
from embedge.ship.platforms import PLATFORMS
from fake_wheels import write_linux_wheels


@pytest.fixture(autouse=True)
def _wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pip", reason="needs pip, which the extra `demo` installs")
    (tmp_path / "wheels").mkdir()
    write_linux_wheels(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))


def ship(*arguments: str | Path) -> Result:
    return runner().invoke(cli, ["ship", *map(str, arguments)])


def test_the_parts_and_limits_of_a_function_are_printed(tiny_bundle: Bundle, tmp_path: Path) -> None:
    output = tmp_path / "function.zip"
    options = ("--lambda", "--platform", "linux-aarch64", "--python", "3.13", "--newest", "--no-bytecode")
    done = ship(tiny_bundle.path, "-o", output, *options)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{output}: tiny int8, linux-aarch64, Python 3.13"
    assert lines[2].split() == ["MB", "unpacked", "zipped"]
    assert [line.split()[0] for line in lines[3:6]] == ["onnxruntime", "numpy", "tokenizers"]
    assert "direct upload: fits, " in done.stdout
    assert "unpacked, with all layers: fits, " in done.stdout
    assert "left out: numpy's random, fft, " in done.stdout
    assert "bytecode: none, as you asked; Python compiles all modules at each start" in done.stdout
    assert lines[-1] == "the function's handler is lambda_function.lambda_handler"


def test_a_python_that_is_not_here_is_said(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "find_python", lambda version: None)
    done = ship(tiny_bundle.path, "-o", tmp_path / "out", "--platform", "linux-x86_64", "--python", "3.13", "--newest")
    assert "bytecode: none, because python3.13 is not on this machine; " in done.stdout
    assert "zipped" not in done.stdout
    assert "direct upload" not in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--platform", "macos-x86_64"), 2, "'" + "', '".join(PLATFORMS)),
        (("--lambda", "--layer"), 2, "found --lambda and --layer; give only one of them"),
        (("--python", "3.10"), 1, "embedge needs Python 3.11 or later, found --python 3.10"),
        (("--lambda", "--platform", "windows-arm64"), 1, "AWS Lambda runs Linux, not windows-arm64"),
        (("--platform", "macos-arm64", "--python", "3.13", "--newest"), 1, "pip finds no wheel of numpy"),
        (("--precision", "fp16"), 1, "fp16"),
    ],
)
def test_a_failure_is_one_line(
    tiny_bundle: Bundle, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    done = ship(tiny_bundle.path, "-o", tmp_path / "out", *options)
    assert done.exit_code == code
    assert message in done.stderr.splitlines()[-1]
    assert "bug" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_of_others_is_kept(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.jpg").touch()
    done = ship(tiny_bundle.path, "-o", tmp_path / "out", "--newest")
    assert done.exit_code == 1
    assert "exists and `embedge ship` did not make it; delete it, or pass another -o" in done.stderr


def test_a_model_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = ship(tmp_path / "nowhere", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert f"no bundle at {tmp_path / 'nowhere'}" in done.stderr
