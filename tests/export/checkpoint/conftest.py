"""A checkpoint's folder that a test may change."""

import shutil
from pathlib import Path

import pytest

from checkpoint_folder import STANDARD, modules, put


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, with the modules that sentence-transformers saves."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    put(folder / "modules.json", modules(STANDARD))
    return folder
