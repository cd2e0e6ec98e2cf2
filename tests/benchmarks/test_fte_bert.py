"""The files for fasttextembed: read by the library itself, whose vectors are compared with embedge's."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

pytest.importorskip("onnx", reason="the benchmarks read checkpoints with the exporter")
from benchmarks.data.seeded import write_seeded  # it needs safetensors
from benchmarks.peers.fte_bert import write_fte, write_vocabulary  # needs the exporter
from embedge.errors import CheckpointError
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.recipe import load_recipe

_RECIPE, _TEXT = "bge-small-en-v1.5", "how do I bake bread?"


def _read(folder: Path, home: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=home, local_files_only=True))


def test_another_shape_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="fasttextembed has only bge-small's shape"):
        write_fte(_read(tiny_checkpoint, tmp_path), tmp_path / "model.fte")
    assert not list(tmp_path.glob("model*"))


def test_the_vocabulary_has_a_line_for_each_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_checkpoint / "tokenizer.json"))
    write_vocabulary(tokenizer, tmp_path / "vocab.tsv")
    lines = (tmp_path / "vocab.tsv").read_text(encoding="utf-8").splitlines()
    assert dict(line.split("\t") for line in lines) == {
        token: str(index) for token, index in tokenizer.get_vocab().items()
    }


def test_the_library_gives_the_vectors_of_transformers(data: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("fasttextembed", reason="fasttextembed is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = write_seeded("small", data / "bge-small-en-v1.5", tmp_path / "checkpoint")
    checkpoint = read_checkpoint(fetch(str(folder), cache=tmp_path, local_files_only=True), like=load_recipe(_RECIPE))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    write_fte(checkpoint, tmp_path / "model.fte")
    write_vocabulary(tokenizer, tmp_path / "vocab.tsv")
    found = library.TextEmbedding(str(tmp_path / "model.fte"), str(tmp_path / "vocab.tsv")).embed_one(_TEXT)
    model = transformers.BertModel.from_pretrained(folder)
    with torch.no_grad():
        hidden = model(torch.tensor([tokenizer.encode(_TEXT).ids])).last_hidden_state[0, 0].numpy()
    assert np.dot(found, hidden) / np.linalg.norm(hidden) > 0.9999  # float16 weights, and another GELU
