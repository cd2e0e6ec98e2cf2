"""load.py: what is wrong is told as it was before things came in side by side."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embedge import Bundle, BundleCorruptError, Embedder


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
