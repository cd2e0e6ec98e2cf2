"""load.py: what is wrong is told as it was before things came in side by side."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Bundle, BundleCorruptError, BundleError, Embedder
from embedge.manifest import HIDDEN
from embedge.providers import CPU
from embedge.session import Session
from embedge.tokenise import Tokeniser


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy"))


@pytest.mark.parametrize("file", ["tokenizer.json", "onnx/model_int8.onnx"])
def test_a_file_that_no_longer_reads_is_told_to_have_changed(copy: Path, file: str) -> None:
    """The tokenizer's or ONNX Runtime's own complaint would say less."""
    size = (copy / file).stat().st_size
    (copy / file).write_bytes(b"x" * size)
    with pytest.raises(BundleCorruptError, match=f"{file} has changed"):
        Embedder(copy, precision="int8")


@pytest.mark.parametrize(
    "module", ["numpy", "onnxruntime", "tokenizers", "logging", "concurrent.futures", "subprocess"]
)
def test_the_embedder_alone_imports_nothing_slow(module: str) -> None:
    code = f"import sys; from embedge import Embedder; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_runtime_works_through_a_bundle_without_imports_of_the_slow_kind(tiny_bundle: Bundle) -> None:
    code = (
        f"import sys; from embedge import Embedder; Embedder({str(tiny_bundle.path)!r}, threads=1).encode('the cat'); "
        "sys.exit('concurrent.futures' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_load_needs_no_hashlib(tiny_bundle: Bundle) -> None:
    """Which takes 3 ms to import; the files' CRC-32 tells damage."""
    code = (
        f"import sys; from embedge import Embedder; Embedder({str(tiny_bundle.path)!r}); "
        "sys.exit('hashlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_session_says_when_its_graph_is_parsed(copy: Path) -> None:
    """Before its kernels are made: as it does of a graph whose weights are then found to be missing."""
    told: list[str] = []

    def open_session() -> None:
        outputs: dict[str, int | None] = {HIDDEN: 32}
        graph = copy / "onnx/model_int8.onnx"
        Session(graph, threads=1, providers=(CPU,), outputs=outputs, finished=True, on_parsed=lambda: told.append("it"))

    open_session()
    assert told == ["it"]
    (copy / "onnx/model_int8.onnx_data").unlink()
    with pytest.raises(BundleError, match="cannot load"):
        open_session()
    assert told == ["it", "it"]
    (copy / "onnx/model_int8.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot load"):
        open_session()
    assert told == ["it", "it"]


def test_the_tokenizer_is_read_once_the_graph_is_parsed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes the lock that reading does not give: the session would be opened after it, not beside it."""
    order: list[str] = []
    opened, read = Session._open, Tokeniser.__init__

    def open_slowly(self: Session, on_parsed: Callable[[], None]) -> None:
        def parsed() -> None:
            time.sleep(0.2)
            order.append("parsed")
            on_parsed()

        opened(self, parsed)

    def note(self: Tokeniser, path: Path, *, max_tokens: int) -> None:
        order.append("reads")
        read(self, path, max_tokens=max_tokens)

    monkeypatch.setattr(Session, "_open", open_slowly)
    monkeypatch.setattr(Tokeniser, "__init__", note)
    Embedder(copy, precision="int8")
    assert order == ["parsed", "reads"]


# Prints what C's getenv gives where OpenBLAS reads it, and what it and os.environ give in the end.
WATCH_OPENBLAS = """
import ctypes, os, sys
from embedge import Embedder

getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p

class Watch:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "numpy._core._multiarray_umath":
            print(getenv(b"OPENBLAS_THREAD_TIMEOUT"))

sys.meta_path.insert(0, Watch)
{before}
Embedder({bundle!r})
print(getenv(b"OPENBLAS_THREAD_TIMEOUT"), os.environ.get("OPENBLAS_THREAD_TIMEOUT"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="OpenBLAS has no such variable on Windows")
@pytest.mark.parametrize(
    ("own", "before", "expected"),
    [
        ({}, "", ["b'22'", "None None"]),
        ({"OPENBLAS_THREAD_TIMEOUT": "20"}, "", ["b'20'", "b'20' 20"]),
        ({}, "import numpy", ["None", "None None"]),
    ],
)
def test_openblas_is_told_to_sleep_soon_and_nobody_else(
    tiny_bundle: Bundle, own: dict[str, str], before: str, expected: list[str]
) -> None:
    """Not where the user has a say, nor where numpy is imported already; and the environment is as before."""
    code = WATCH_OPENBLAS.format(before=before, bundle=str(tiny_bundle.path))
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"} | own
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == expected
