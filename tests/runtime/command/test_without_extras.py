"""Every command in a plain `pip install embedge`, which has none of the packages that an export needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedge import Bundle
from embedge.command.main import COMMANDS

EXTRAS = ("onnx", "safetensors", "ml_dtypes", "optimum", "torch", "transformers")
PROGRAM = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
from embedge.command.main import main
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert "Traceback" not in done.stderr
    assert "this is a bug" not in done.stderr
    return done


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_needs_no_extra(command: str) -> None:
    assert run(*filter(None, [command]), "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("export", "all-MiniLM-L6-v2"), "export"),
        (("demo",), "demo"),
        (("demo", "--model", "someone/tiny"), "demo"),
        (("embed", "cat"), "export"),
        (("rerank", "cat", "the cat"), "export"),
        (("pull", "bge-small-en-v1.5"), "export"),
        (("bundle", "bge-small-en-v1.5", "-o", "copy"), "export"),
    ],
    ids=str,
)
def test_what_needs_an_extra_names_it(arguments: tuple[str, ...], extra: str, tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert f"`pip install 'embedge[{extra}]'`" in done.stderr
    assert "onnx is not installed" in done.stderr


def test_verify_checks_hashes_and_says_that_vectors_are_not_compared(tiny_bundle: Bundle) -> None:
    done = run("verify", str(tiny_bundle.path))
    assert (done.returncode, done.stderr) == (0, "")
    files, vectors = done.stdout.splitlines()
    assert files.endswith(" MB, every SHA-256 matches")
    assert vectors.startswith("vectors not compared: onnx is not installed; ")
    assert "`pip install 'embedge[export]'`" in vectors


def test_verify_notices_a_change_without_the_extra(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "changed"
    assert run("bundle", str(tiny_bundle.path), "-o", str(folder)).returncode == 0
    (folder / "config.json").write_text("{}")
    done = run("verify", str(folder))
    assert done.returncode == 1
    assert "config.json has 2 bytes" in done.stderr


def test_a_comparison_that_is_asked_for_is_an_error_without_the_extra(tiny_bundle: Bundle, tmp_path: Path) -> None:
    done = run("verify", str(tiny_bundle.path), "--checkpoint", str(tmp_path))
    assert done.returncode == 1
    assert "`pip install 'embedge[export]'`" in done.stderr


def test_what_needs_no_extra_works(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = str(tiny_bundle.path)
    assert run("demo", "-m", path, "what is a cat?").stdout.count("\n  ") == 3
    assert '"embedding": [' in run("embed", "-m", path, "cat").stdout
    assert run("pull", path).stdout.startswith(f"{path}: int8 + fp32, ")
    assert run("bundle", path, "-o", str(tmp_path / "copy")).stdout.startswith(f"{tmp_path / 'copy'}: int8 + fp32, ")
    assert "bge-small-en-v1.5" in run("models").stdout
    assert "onnxruntime" in run("info").stdout
    assert "embedge" in run("info", "--footprint", "-m", path).stdout
    assert "embedge.Embedder" in run("rerank", "-m", path, "cat", "the cat").stderr
    assert "the hub cannot be reached for someone/tiny" in run("push", path, "someone/tiny").stderr


def run_without_exporter(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; sys.modules['embedge_export'] = None; from embedge.command.main import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_where_the_exporter_was_deleted_lists_the_other_commands() -> None:
    done = run_without_exporter("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  embed   Convert texts" in done.stdout
    assert "\n  export " not in done.stdout


@pytest.mark.parametrize("command", ["export", "demo", "models"])
def test_a_command_of_the_exporter_that_was_deleted_says_how_to_get_it_back(command: str) -> None:
    done = run_without_exporter(command, "--help")
    assert done.returncode == 1
    advice = "run `pip install --force-reinstall 'embedge[export]'`"
    assert done.stderr == f"Error: embedge_export is not installed; {advice}\n"
