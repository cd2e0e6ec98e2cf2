"""A checkpoint's longest text is the same as in sentence-transformers and transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoint_folder import put, read, theirs, token_ids
from embedge import Embedder
from embedge_export import export
from embedge_export.checkpoint.json_file import read_json
from embedge_export.checkpoint.sentence_settings import LENGTH_FILES
from seeded_roberta import write_roberta

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize("positions", [64, 40])
@pytest.mark.parametrize("tokenizer", [{}, {"model_max_length": 24}, {"max_len": 24}, {"model_max_length": 1e30}])
@pytest.mark.parametrize("file", [None, *LENGTH_FILES])
def test_the_length_is_that_of_sentence_transformers(
    folder: Path, positions: int, tokenizer: dict[str, Any], file: str | None
) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "embeddings.position_embeddings.weight"
    save_file({**tensors, name: tensors[name][:positions].copy()}, folder / "model.safetensors")
    config = read_json(folder / "config.json") or {}
    put(folder / "config.json", {**config, "max_position_embeddings": positions})
    saved = {k: v for k, v in (read_json(folder / "tokenizer_config.json") or {}).items() if k != "model_max_length"}
    put(folder / "tokenizer_config.json", {**saved, **tokenizer})
    if file:
        put(folder / file, {"max_seq_length": 33})
    assert read(folder).max_tokens == theirs(folder).max_seq_length


def test_the_first_length_file_that_is_not_empty_counts(folder: Path) -> None:
    for length, name in enumerate(LENGTH_FILES, 10):
        put(folder / name, {} if name == LENGTH_FILES[0] else {"max_seq_length": length})
    assert read(folder).max_tokens == theirs(folder).max_seq_length == 11


def test_tokenizer_arguments_override_its_config(folder: Path, tmp_path: Path) -> None:
    put(folder / "sentence_bert_config.json", {"processor_kwargs": {"model_max_length": 20, "do_lower_case": False}})
    other = theirs(folder)
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    assert bundle.manifest.max_tokens == other.max_seq_length == 20
    texts = ["The Cat SAT", "the cat sat"]
    found = Embedder(bundle.path).encode(texts)
    np.testing.assert_allclose(found, other.encode(texts), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


@pytest.mark.parametrize("padding", [0, 1, 7])
def test_positions_of_roberta_begin_after_its_padding_id(tmp_path: Path, padding: int) -> None:
    """The longest text that fits has the vector of transformers; one more token would have no position."""
    import torch
    from transformers import AutoModel

    folder = write_roberta(tmp_path / "c", rerank=False)
    for head in ("sparse_linear.pt", "colbert_linear.pt"):
        (folder / head).unlink()
    config = read_json(folder / "config.json") or {}
    put(folder / "config.json", {**config, "pad_token_id": padding})
    put(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    assert bundle.manifest.max_tokens == config["max_position_embeddings"] - padding - 1
    model = Embedder(bundle.path)
    text = "the river " * 600
    ids = token_ids(bundle, text)
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder)(input_ids=torch.tensor([ids])).last_hidden_state
    found = model.encode(text, normalize=False, on_truncate="ignore")
    np.testing.assert_allclose(found, hidden[0, 0].numpy(), atol=1e-4)
