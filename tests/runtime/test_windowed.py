"""A windowed app on Windows has no streams: sys.stdin, sys.stdout and sys.stderr are None, and work must go on.

Each part runs in a new process, because libraries look for the streams while they are imported.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import embedge
from embedge import Bundle
from hub_commands import environment
from loopback_hub import WRITER, Hub, running

RUNTIME = Path(embedge.__file__).parent
EXPORTER = Path(__file__).parents[2] / "export" / "embedge_export"
# Where code may use a stream itself: it asks first whether there is one.
USE_STREAMS = {"progress.py", "command/main.py", "command/write_vectors.py", "text_files.py"}
STREAMS = ("sys.stdin", "sys.stdout", "sys.stderr")
# A failure is shown by the descriptor, which a real windowed app may lack.
WITHOUT = """
import os, sys, traceback
sys.stdin = sys.stdout = sys.stderr = None
sys.excepthook = lambda *error: os.write(2, "".join(traceback.format_exception(*error)).encode())
"""
ENCODE = """
import logging, warnings
from embedge import Embedder
from embedge.progress import log_step
logging.basicConfig(level=logging.INFO)
model = Embedder(sys.argv[1])
assert model.encode(["the cat " * 999] * 100, show_progress_bar=True, on_truncate="warn").shape == (100, 32)
assert len(model.encode(["the cat"] * 100)) == 100
warnings.warn("a warning of another library")
log_step("a step")
"""
PULL_AND_PUSH = """
from embedge import Embedder
from embedge.bundle.directory import Bundle
from embedge.hub.push import push
Embedder(sys.argv[1]).encode("the cat")
push(Bundle.open(sys.argv[2]), "someone/new")
"""
EXPORT = """
import embedge_export
embedge_export.export(sys.argv[1], sys.argv[2])
"""
COMMAND = """
from embedge.command.main import main
main()
"""


def run(code: str, *arguments: str | Path, hub: Hub | None = None, status: int = 0) -> None:
    """Run Python without streams. It must exit with a status, and write nothing to the descriptors."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(hub, HF_TOKEN=WRITER),
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", status)


@pytest.fixture
def hub(tiny_bundle: Bundle) -> Iterator[Hub]:
    with running() as hub:
        hub.tokens.add(WRITER)
        hub.add("someone/tiny-bundle", tiny_bundle.path)
        yield hub


def test_texts_are_embedded(tiny_bundle: Bundle) -> None:
    """With a progress bar, truncated texts, a log that goes to stderr, and a warning."""
    run(ENCODE, tiny_bundle.path)


def test_a_bundle_is_pulled_and_pushed(tiny_bundle: Bundle, hub: Hub) -> None:
    """With embedge's bar for what it downloads, and huggingface_hub's for what it uploads."""
    run(PULL_AND_PUSH, "someone/tiny-bundle", tiny_bundle.path, hub=hub)
    assert "embedge.json" in hub.repositories["someone/new"].files


def test_a_checkpoint_is_exported(tiny_checkpoint: Path, tmp_path: Path) -> None:
    run(EXPORT, tiny_checkpoint, tmp_path / "bundle")
    Bundle.open(tmp_path / "bundle").check()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("--help", 0),
        ("nothing", 2),
        ("embed -m BUNDLE", 1),
        ("embed -m BUNDLE text -o OUTPUT", 0),
        ("embed -m /nowhere text -o OUTPUT", 1),
        ("info", 0),
        ("verify BUNDLE", 0),
        ("bundle BUNDLE -o FOLDER", 0),
        ("pull someone/tiny-bundle", 0),
        ("pull someone/nothing", 1),
        ("push BUNDLE someone/new", 0),
    ],
)
@pytest.mark.skipif(
    int(version("click").split(".")[1]) < 2 and version("click").startswith("8."),
    reason="click before 8.2 cannot print without a stdout",
)
def test_a_command_ends(tiny_bundle: Bundle, hub: Hub, tmp_path: Path, arguments: str, status: int) -> None:
    paths = {"BUNDLE": tiny_bundle.path, "OUTPUT": tmp_path / "vectors.npy", "FOLDER": tmp_path / "copy"}
    words = [paths.get(word, word) for word in arguments.split()]
    run(COMMAND, *words, hub=hub, status=status)


@pytest.mark.parametrize("path", [*RUNTIME.rglob("*.py"), *EXPORTER.rglob("*.py")], ids=lambda path: path.stem)
def test_streams_are_used_where_somebody_asked_for_them(path: Path) -> None:
    """No other code prints, writes to a stream, or shows a bar of tqdm: ``progress``, ``tell`` and click do."""
    if path.is_relative_to(RUNTIME) and path.relative_to(RUNTIME).as_posix() in USE_STREAMS:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "input"))
        assert not (isinstance(node, ast.Attribute) and ast.unparse(node.value) in STREAMS)
        assert not (isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "tqdm")
        assert not (isinstance(node, ast.Import) and any(alias.name == "tqdm" for alias in node.names))
