"""Packages that stand in for embedge-kernels, with a library that holds no kernels; and bundles with a fused graph."""

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from manifests import change

MODULE = "embedge_kernels"
FUSED = "onnx/model_int8_fused.onnx"
# A library that ONNX Runtime loads: it adds no operator, and counts how often it is asked to.
_REGISTERS = """
static int calls = 0;
void* RegisterCustomOps(void* options, const void* api) { calls++; return 0; }
int registrations(void) { return calls; }
"""
_SAYS = """
#include <stdlib.h>
const char* embedge_kernels_instruction_set(void) { return getenv("EMBEDGE_KERNELS_ISA") ? "" : "scalar"; }
const char* embedge_kernels_instruction_sets(void) { return "avx2,scalar"; }
"""
_PACKAGE = """
from pathlib import Path
__version__ = "9.8.7"
def library_path():
    return Path(__file__).parent / "library.so"
"""


def write_package(folder: Path, source: str = _PACKAGE) -> Path:
    """Write a package whose library is a file of text; return the library's path."""
    package = folder / MODULE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    (package / "library.so").write_text("no library")
    return package / "library.so"


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let this process import the package in a folder, instead of one that is installed."""
    monkeypatch.setitem(sys.modules, MODULE, None)  # to have it undone, whatever is imported until then
    del sys.modules[MODULE]
    monkeypatch.syspath_prepend(str(folder))


def compile_library(path: Path, *, says: bool = True) -> None:
    """Compile a library that ONNX Runtime loads; skip the test where there is no compiler.

    Args:
        path: the library.
        says: whether it has the functions that name instruction sets.
    """
    compiler = shutil.which("cc")
    if sys.platform == "win32" or compiler is None:
        pytest.skip("needs a C compiler, cc")
    source = path.with_suffix(".c")
    source.write_text(_REGISTERS + (_SAYS if says else ""))
    path.unlink(missing_ok=True)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)


def add_fused(folder: Path, graph: bytes | None = None) -> None:
    """Let a bundle have a fused graph: by default its fp32 graph, whose vectors are not those of its int8 graph."""
    content = (folder / "onnx/model.onnx").read_bytes() if graph is None else graph
    (folder / FUSED).write_bytes(content)
    change(folder, lambda manifest: name_fused(manifest, content))


def name_fused(manifest: dict[str, Any], content: bytes) -> None:
    """Name the fused graph in a manifest."""
    record = {"size": len(content), "sha256": sha256(content).hexdigest(), "crc32": f"{crc32(content):08x}"}
    manifest["files"][FUSED] = record
    manifest["precisions"]["int8"]["fused"] = FUSED


def remove_fused(folder: Path) -> None:
    """Let a bundle have no fused graph, as those that were exported before there was one."""
    (folder / FUSED).unlink(missing_ok=True)

    def forget(manifest: dict[str, Any]) -> None:
        manifest["files"].pop(FUSED, None)
        manifest["precisions"]["int8"]["fused"] = None

    change(folder, forget)
