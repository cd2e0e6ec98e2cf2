"""An index of small wheels for pip, in place of PyPI."""

from pathlib import Path

import pytest

from fake_wheels import write_linux_wheels


@pytest.fixture
def no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which pip looks for wheels, and nowhere else."""
    pytest.importorskip("pip", reason="needs pip, which the extra `demo` installs")
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def fake_wheels(no_index: Path) -> Path:
    """That folder, with small wheels of numpy, onnxruntime and tokenizers for Linux and Python 3.13."""
    write_linux_wheels(no_index)
    return no_index
