"""numpy_reference.py: the layers by numpy give what transformers gives for the same checkpoint."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import CheckpointError
from embedge.bundle.manifest import HIDDEN, SCORES
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.verify.numpy_reference import NumpyReference, _gelu
from references import references
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def some_ids(vocabulary: int) -> list[NDArray[np.int64]]:
    """Texts of different lengths; none has RoBERTa's padding token, 1."""
    random = np.random.default_rng(0)
    return [random.integers(4, vocabulary, length) for length in (1, 2, 3, 17, 17, 40, 62)]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_bert_is_transformers(make_checkpoint: MakeCheckpoint, tmp_path: Path, activation: str) -> None:
    checkpoint = checkpoint_of(make_checkpoint(config={"hidden_act": activation}))
    compare(checkpoint, tmp_path, HIDDEN)


@pytest.mark.parametrize("rerank", [True, False])
def test_roberta_is_transformers(tmp_path: Path, rerank: bool) -> None:
    checkpoint = checkpoint_of(write_roberta(tmp_path / "c", rerank=rerank))
    compare(checkpoint, tmp_path, SCORES if rerank else HIDDEN)


def compare(checkpoint: Checkpoint, scratch: Path, output: str) -> None:
    ids = some_ids(checkpoint.config["vocab_size"])
    by_torch, by_numpy = (reference.outputs(ids, [output]) for reference in references(checkpoint, scratch))
    for expected, found in zip(by_torch, by_numpy, strict=True):
        assert found[output].dtype == np.float32
        np.testing.assert_allclose(found[output], expected[output], atol=2e-5)


def test_a_token_that_is_roberta_s_padding_has_the_position_of_padding(tmp_path: Path) -> None:
    """As in transformers, which does not know that it stands in a text."""
    checkpoint = checkpoint_of(write_roberta(tmp_path / "c", rerank=False))
    ids = [np.array([0, 5, 1, 6, 2])]
    by_torch, by_numpy = (reference.outputs(ids, [HIDDEN]) for reference in references(checkpoint, tmp_path))
    np.testing.assert_allclose(by_numpy[0][HIDDEN], by_torch[0][HIDDEN], atol=2e-5)


def test_gelu_is_that_of_the_exact_error_function() -> None:
    rows = np.linspace(-12, 12, 10_001, dtype=np.float32)
    expected = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in rows.tolist()]
    np.testing.assert_allclose(_gelu(rows), expected, rtol=3e-7, atol=5e-7)


def test_another_architecture_is_refused(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = checkpoint_of(make_checkpoint(config={"position_embedding_type": "relative_key"}))
    with pytest.raises(CheckpointError, match="relative position embeddings"):
        NumpyReference(checkpoint)
