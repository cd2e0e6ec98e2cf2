"""The footprint benchmark: its figures match the installed files."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import footprint
from benchmarks.footprint import ROWS, Installed, InstallError, Row, install, run, table


@pytest.fixture
def package(tmp_path: Path) -> str:
    """A project that pip can install without a package index."""
    folder = tmp_path / "fp_project"
    folder.mkdir()
    (folder / "fp_module.py").write_text("#" * 5000)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path=["."]'
    )
    return str(folder)


BACKEND = """
import zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "fp_module-1.0-py3-none-any.whl"
    info = "fp_module-1.0.dist-info"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.write("fp_module.py")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: fp_module\\nVersion: 1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", f"fp_module.py,,\\n{info}/METADATA,,\\n{info}/WHEEL,,\\n{info}/RECORD,,\\n")
    return name
"""


def test_every_file_of_site_packages_counts(package: str, tmp_path: Path) -> None:
    row = Row(name="x", requirements=(package,), imports=("fp_module",))
    found = install(row, tmp_path / "environment")
    (packages,) = {folder.resolve() for folder in (tmp_path / "environment").glob("[Ll]ib*/**/site-packages")}
    files = [file for file in packages.rglob("*") if file.is_file()]
    assert found.size == sum(file.stat().st_size for file in files) > 5000
    assert list(found.packages) == ["fp_module 1.0"]
    assert found.packages["fp_module 1.0"] == found.size


def test_a_row_that_does_not_work_is_left_out_and_said_to_be(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Row(name="bad", requirements=(package,), imports=("fp_module", "fp_absent"))
    result = run([bad])
    assert not result.rows
    assert "No module named 'fp_absent'" in result.left_out["bad"]
    with pytest.raises(InstallError, match="nowhere"):
        footprint._call(["sh", "-c", "echo nowhere >&2; exit 3"])


def test_the_table_is_sorted_by_size() -> None:
    small, large = (Installed(requirements=(), size=size, packages={"a 1": size}) for size in (10**6, 2 * 10**6))
    lines = table({"large": large, "small": small}).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["small", "large"]
    assert "a 2" in lines[3]


def test_rows_are_chosen_by_name() -> None:
    done = CliRunner().invoke(footprint.main, ["--only", "nosuch"])
    assert done.exit_code == 2
    assert all(row.name in " ".join(done.stderr.split()) for row in ROWS)
