"""The desktop app in examples/desktop, as it is and as PyInstaller builds it."""

import ast
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

from embedge import Embedder

APP = Path(__file__).parents[2] / "examples" / "desktop"
TINY = Path(__file__).parents[1] / "tiny_bundle"
QUESTION = "can I take my bike on the train?"
HAS_HOOKS = any(point.value.startswith("embedge.") for point in entry_points(group="pyinstaller40"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with a bundle, as its first lines say."""
    copy = tmp_path_factory.mktemp("desktop") / "app"
    shutil.copytree(APP, copy)
    shutil.copytree(TINY, copy / "bundle")
    return copy


@pytest.fixture(scope="module")
def built(folder: Path) -> Path:
    """The folder that PyInstaller made; this takes half a minute."""
    if not find_spec("PyInstaller"):
        pytest.skip("needs PyInstaller: pip install pyinstaller")
    if not HAS_HOOKS:
        pytest.skip("needs embedge installed with its entry points: pip install .")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "search.spec"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / "search"


def expected() -> list[str]:
    """The lines that the app should print, by products of the vectors."""
    tree = ast.parse((APP / "search.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NOTES"
    )
    notes = ast.literal_eval(value)
    model = Embedder(TINY)
    scores = [float(model.encode_query(QUESTION) @ model.encode_document(note)) for note in notes]
    return [f"{score:.3f}  {note}" for score, note in sorted(zip(scores, notes, strict=True), reverse=True)]


def run(*command: str | Path) -> str:
    """What a program prints in another folder, without any variable that helps it to find Python or embedge."""
    environment = {"EMBEDGE_HOME": "/nonexistent"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_script_sorts_the_notes(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(folder / "search.py"), QUESTION], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.splitlines() == expected()


@pytest.mark.skipif(sys.platform == "win32", reason="runs a POSIX shell")
def test_the_built_app_sorts_the_notes(built: Path) -> None:
    assert run(built / "search", QUESTION).splitlines() == expected()


@pytest.mark.skipif(sys.platform == "win32", reason="runs a POSIX shell")
def test_the_built_app_needs_no_streams(built: Path, tmp_path: Path) -> None:
    """As with ``console=False`` on Windows, sys.stdin, sys.stdout and sys.stderr are None."""
    results = tmp_path / "results.txt"
    run("/bin/sh", "-c", '"$0" "$1" "$2" <&- >&- 2>&-', str(built / "search"), QUESTION, str(results))
    assert results.read_text(encoding="utf-8").splitlines() == expected()


def test_the_built_app_has_what_it_needs_and_no_more(built: Path) -> None:
    modules = (built.parents[1] / "build" / "search" / "PYZ-00.toc").read_text(encoding="utf-8")
    assert "('embedge.embedder'," in modules
    for name in ("embedge_export", "embedge_models", "embedge.command", "huggingface_hub", "onnx", "torch"):
        assert f"('{name}" not in modules.replace("('onnxruntime", "")
    graphs = built / "_internal" / "embedge" / "inference" / "device" / "pooling_graphs"
    assert {file.name for file in graphs.iterdir()} == {"mean.onnx", "row.onnx"}
    assert list((built / "_internal").glob("onnxruntime-*.dist-info"))
