"""Blank symbol tables: a library of the real wheels, of which the loader sees the same."""

import shutil
import subprocess
import sys
import zlib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from embedge.command.installed_packages import installed_files
from embedge.ship.symbols import blank_symbols

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the ELF files of Linux's wheels")


def copies(folder: Path) -> list[Path]:
    """All libraries of the installed numpy, in the folders in which they find each other."""
    found = []
    for name, path in installed_files(distribution("numpy")).items():
        if not name.startswith(".."):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
            found += [folder / name] if ".so" in path.suffixes else []
    return found


def readelf(path: Path, *options: str) -> str:
    return subprocess.run(["readelf", *options, str(path)], capture_output=True, text=True, check=True).stdout


def local_symbols(path: Path) -> str:
    """Binutils' listing of .symtab; empty for a library without."""
    tables = readelf(path, "--symbols").split("Symbol table ")
    return next((table for table in tables if table.startswith("'.symtab'")), "")


def test_numpy_computes_with_blank_tables(tmp_path: Path) -> None:
    """Its OpenBLAS is the library that `strip` breaks."""
    files = copies(tmp_path)
    before = {path: path.read_bytes() for path in files}
    blanked = blank_symbols(tmp_path)
    after = {path: path.read_bytes() for path in files}
    changed = [path for path in files if after[path] != before[path]]
    if not changed:
        pytest.skip("the libraries of this numpy have no symbol tables")
    assert all(len(after[path]) == len(before[path]) for path in files)
    assert 0 < blanked < sum(map(len, after.values()))
    assert all(len(zlib.compress(after[path])) < len(zlib.compress(before[path])) for path in changed)
    code = (
        "import numpy as np; a = np.arange(90000.0).reshape(300, 300) / 9e4; print(float((a @ a).sum()), np.__file__)"
    )
    outputs = []
    for packages in (tmp_path, Path(str(distribution("numpy").locate_file("")))):
        command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(packages)!r}); {code}"]
        done = subprocess.run(command, capture_output=True, text=True, env={}, check=True)
        outputs.append(done.stdout.split())
    assert outputs[0][0] == outputs[1][0]
    assert outputs[0][1].startswith(str(tmp_path))


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs binutils")
def test_what_the_loader_reads_is_unchanged(tmp_path: Path) -> None:
    """By binutils: the segments, the dynamic section and the dynamic symbols; the local symbols are gone."""
    options = ("--segments", "--dynamic", "--dyn-syms", "--relocs", "--wide")
    for path in copies(tmp_path):
        before = readelf(path, *options)
        blank_symbols(path.parent)
        assert readelf(path, *options) == before
        assert "FUNC" not in local_symbols(path)


def test_other_files_stay(tmp_path: Path) -> None:
    contents = {"a.so": b"text", "b.so": b"", "c.so": b"\x7fELF\x01\x01" + bytes(60), "d.txt": b"\x7fELF\x02\x01"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert blank_symbols(tmp_path) == 0
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
