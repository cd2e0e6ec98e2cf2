"""What tests of the exporter share."""

from pathlib import Path

import pytest
from onnx import ModelProto

from embedge_export.checkpoint import read_checkpoint
from embedge_export.fetch import fetch
from embedge_export.graph import build_graph


@pytest.fixture
def model(tiny_checkpoint: Path, tmp_path: Path) -> ModelProto:
    """The float32 graph of the tiny checkpoint."""
    fetched = fetch(str(tiny_checkpoint), cache=tmp_path, local_files_only=True)
    return build_graph(read_checkpoint(fetched))
