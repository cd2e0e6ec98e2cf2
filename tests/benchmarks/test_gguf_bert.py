"""The GGUF file for llama.cpp, read back with gguf's reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from embedge.errors import CheckpointError
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint

gguf = pytest.importorskip("gguf")
from benchmarks.peers.gguf_bert import write_gguf  # noqa: E402  # it imports gguf

_NAMES = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
    "encoder.layer.1.attention.self.key.weight": "blk.1.attn_k.weight",
    "encoder.layer.0.attention.self.value.bias": "blk.0.attn_v.bias",
    "encoder.layer.0.attention.output.dense.weight": "blk.0.attn_output.weight",
    "encoder.layer.0.attention.output.LayerNorm.weight": "blk.0.attn_output_norm.weight",
    "encoder.layer.1.intermediate.dense.weight": "blk.1.ffn_up.weight",
    "encoder.layer.1.output.dense.weight": "blk.1.ffn_down.weight",
    "encoder.layer.1.output.LayerNorm.bias": "blk.1.layer_output_norm.bias",
}


def _read(folder: Path, home: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=home, local_files_only=True))


def test_tensors_under_llama_cpp_names(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_gguf(_read(tiny_checkpoint, tmp_path), tmp_path / "model.gguf")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    found = {tensor.name: tensor for tensor in reader.tensors}
    saved = load_file(tiny_checkpoint / "model.safetensors")
    assert len(found) == len(saved)
    for name, to in _NAMES.items():
        back = gguf.quants.dequantize(found[to].data, found[to].tensor_type).reshape(saved[name].shape)
        exact = found[to].tensor_type == gguf.GGMLQuantizationType.F32
        assert exact == ("weight" not in name or "Norm" in name or "type" in name or "position" in name)
        # Half a quantisation step of the largest of 32 values, plus the rounding of the float16 scale (11 bits).
        bound = 0 if exact else np.abs(saved[name]).max() * (0.5 / 127 + 2**-11)
        assert np.abs(back - saved[name]).max() <= bound


def test_vocabulary_marks_words_not_pieces(tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_gguf(_read(tiny_checkpoint, tmp_path), tmp_path / "model.gguf")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert tokens[:8] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁the", "▁a", "▁cat"]
    assert {"s", "ing", "▁東"} <= set(tokens)
    assert len(tokens) == 64  # the model's rows, more than the tokenizer's entries
    assert fields["bert.pooling_type"].contents() == gguf.PoolingType.CLS
    assert fields["bert.attention.causal"].contents() is False
    assert fields["tokenizer.ggml.normalizer.lowercase"].contents() is True


def test_another_activation_is_refused(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    relu = make_checkpoint("relu", config={"hidden_act": "relu"})
    with pytest.raises(CheckpointError, match="bert with relu"):
        write_gguf(_read(relu, tmp_path), tmp_path / "model.gguf")
    assert not list(tmp_path.glob("model*"))
