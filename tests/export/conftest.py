"""Fixtures that tests of the exporter share."""

from pathlib import Path

import pytest
from onnx import ModelProto

from embedge import Bundle
from embedge_export import export
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import read_checkpoint
from embedge_export.graph.encoder import build_graph
from seeded_roberta import write_roberta


@pytest.fixture
def model(tiny_checkpoint: Path, tmp_path: Path) -> ModelProto:
    """The float32 graph of the tiny checkpoint."""
    fetched = fetch(str(tiny_checkpoint), cache=tmp_path, local_files_only=True)
    return build_graph(read_checkpoint(fetched))


@pytest.fixture(scope="session")
def m3_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint like bge-m3's on the hub: pickled, with a sparse and a multi-vector head beside the encoder."""
    return write_roberta(tmp_path_factory.mktemp("roberta") / "m3", rerank=False, pickled=True)


@pytest.fixture(scope="session")
def m3_bundle(m3_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with int8 and fp32, verified against optimum's graph."""
    return export(m3_checkpoint, tmp_path_factory.mktemp("bundles") / "m3", precisions=("int8", "fp32"))
