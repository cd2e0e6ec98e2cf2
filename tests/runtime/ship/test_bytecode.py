"""The Python that compiles an output: the target's minor version, or none."""

import os
import sys
from pathlib import Path

import pytest

from embedge import EmbedgeError
from embedge.ship.bytecode import compile_all, find_python
from embedge.ship.platforms import this_python


def test_this_python_compiles_for_itself() -> None:
    assert find_python(this_python()) == (sys.executable,)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_a_python_of_another_version_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name says little: pyenv's shims answer with an error, and a link may lead to another version."""
    (tmp_path / "python3.99").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "python3.99").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python("3.99") is None
    (tmp_path / "python3.99").write_text("#!/bin/sh\necho cpython-399\n")
    assert find_python("3.99") == (str(tmp_path / "python3.99"),)


@pytest.mark.skipif(os.name == "nt", reason="pyenv's layout is of a POSIX system")
def test_pythons_of_pyenv_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "versions" / "3.99.1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho cpython-399\n")
    python.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python("3.99") == (str(python),)
    assert find_python("3.9") is None


def test_a_module_that_does_not_compile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def (")
    with pytest.raises(EmbedgeError, match=r"cannot compile the packages .*; pass --no-bytecode"):
        compile_all(tmp_path, (sys.executable,))
