"""The built package: small, with three exported names, and no dependency but the C library."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

MOST_BYTES = 2_000_000
EXPORTS = {"RegisterCustomOps", "embedge_kernels_instruction_set", "embedge_kernels_instruction_sets"}
# The C library's parts, and the loader.
_C_LIBRARY = re.compile(r"lib(c|m|pthread|dl)\.so\.\d|ld-linux.*\.so\.\d")


def _printed(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}, which binutils brings")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def installed(library: Path) -> Path:
    """The library of the installed package."""
    try:
        import embedge_kernels

        distribution("embedge-kernels")
    except (ImportError, PackageNotFoundError):
        pytest.skip("needs embedge-kernels; `pip install ./kernels` builds it")
    assert embedge_kernels.library_path() == library or library.is_file()
    return embedge_kernels.library_path()


def test_the_library_is_small(installed: Path) -> None:
    assert installed.stat().st_size <= MOST_BYTES


def test_the_wheel_is_for_any_python_3_on_one_platform() -> None:
    try:
        wheel = distribution("embedge-kernels").read_text("WHEEL")
    except PackageNotFoundError:
        pytest.skip("needs embedge-kernels; `pip install ./kernels` builds it")
    assert wheel is not None
    (tag,) = re.findall(r"^Tag: (.+)$", wheel, re.MULTILINE)
    assert re.fullmatch(r"py3-none-(?!any)\w+", tag)
    assert "Root-Is-Purelib: false" in wheel


def test_the_package_has_its_version_types_and_licence(installed: Path) -> None:
    import embedge_kernels

    found = distribution("embedge-kernels")
    assert found.version == embedge_kernels.__version__
    assert found.metadata["License-Expression"] == "MIT"
    assert found.requires is None
    files = [path.name for path in found.files or ()]
    assert {"py.typed", "LICENSE", installed.name} <= set(files)


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
def test_the_library_needs_only_the_c_library(installed: Path) -> None:
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", _printed("readelf", "-d", str(installed)))
    assert needed
    assert [name for name in needed if not _C_LIBRARY.fullmatch(name)] == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
def test_the_library_exports_three_names_and_has_no_symbol_table(installed: Path) -> None:
    exported = {line.split()[-1] for line in _printed("nm", "-D", "--defined-only", str(installed)).splitlines()}
    assert exported == EXPORTS
    assert ".symtab" not in _printed("readelf", "-S", str(installed))


def test_a_package_without_its_library_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    embedge_kernels = pytest.importorskip("embedge_kernels", reason="needs embedge-kernels")
    monkeypatch.setattr(embedge_kernels, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(FileNotFoundError, match="pip install --force-reinstall embedge-kernels"):
        embedge_kernels.library_path()
