"""What is deleted from the packages, and what stays."""

from pathlib import Path

import pytest

from embedge.ship.trim import trim

STAYS = ("numpy/__init__.py", "numpy/_core/multiarray.py", "numpy/random/LICENSE.md", "numpy-{v}.dist-info/METADATA")
OWN_CODE = ("numpy/random/mtrand.so", "numpy/ma/core.py", "numpy/_core/_umath_tests.cpython-313-x86_64-linux-gnu.so")
GOES = ("numpy/_core/tests/test_x.py", "numpy/__init__.pyi", "numpy-{v}.dist-info/RECORD", "bin/f2py")


def write(folder: Path, version: str) -> Path:
    for name in (*STAYS, *OWN_CODE, *GOES):
        path = folder / name.format(v=version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return folder


@pytest.mark.parametrize(
    ("version", "whole", "cut"), [("2.4.6", False, True), ("2.4.6", True, False), ("1.26.4", False, False)]
)
def test_parts_of_numpy_go_where_nothing_imports_them(tmp_path: Path, version: str, whole: bool, cut: bool) -> None:
    """An older numpy imports random, ma and others when it is imported."""
    assert trim(write(tmp_path, version), whole_numpy=whole) == cut
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {name.format(v=version) for name in (STAYS if cut else (*STAYS, *OWN_CODE))}


def test_empty_folders_go(tmp_path: Path) -> None:
    trim(write(tmp_path, "2.4.6"), whole_numpy=False)
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())]
