"""A reranker with seeded random weights, and its bundle."""

from pathlib import Path

import pytest

from embedge import Bundle
from embedge_export import export
from seeded_roberta import write_roberta


@pytest.fixture(scope="session")
def reranker_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_roberta(tmp_path_factory.mktemp("roberta") / "reranker", rerank=True)


@pytest.fixture(scope="session")
def reranker_bundle(reranker_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with int8 and fp32, verified against optimum's graph."""
    return export(reranker_checkpoint, tmp_path_factory.mktemp("bundles") / "r", precisions=("int8", "fp32"))
