"""Every program of the benchmarks has help, runs as a module, and is in the README."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import benchmarks

FOLDER = Path(benchmarks.__file__).parent
PROGRAMS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_help_with_its_own_command(name: str) -> None:
    command = f"python -m benchmarks.{name}"
    module = import_module(f"benchmarks.{name}")
    assert f"{command} --help" in str(module.__doc__)
    done = CliRunner().invoke(module.main, ["--help"])
    assert done.exit_code == 0, done.output
    assert command in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_a_program_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "benchmarks.versions", "--help"]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: python -m benchmarks.versions")
