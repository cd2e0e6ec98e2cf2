"""encoder.py, encoder_config.py and float16.py: graphs equal optimum's; errors say what is wrong in a config."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from embedge import CheckpointError
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.graph.encoder import build_graph
from embedge_export.graph.float16 import to_float16
from embedge_export.optimum.trace import trace
from embedge_export.verify.reference import Reference

MakeCheckpoint = Callable[..., Path]
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def save(model: ModelProto, path: Path) -> Reference:
    path.write_bytes(model.SerializeToString())
    return Reference(path, path.name)


def padded_batches(vocabulary: int, longest: int) -> Iterator[Batch]:
    """Yield batches of mixed lengths, padded with 0 on the right; one without padding; one of a single token."""
    random = np.random.default_rng(0)
    for lengths in ([1, longest, 7], [5, 5], [2, 3, 11, longest // 2], [1]):
        ids = random.integers(1, vocabulary, (len(lengths), max(lengths)))
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        yield ids * mask, mask


def worst(first: Reference, second: Reference, *, vocabulary: int, longest: int) -> float:
    """Return the largest difference of an element of the last hidden states, padding included."""
    pairs = [(first.run(*b), second.run(*b)) for b in padded_batches(vocabulary, longest)]
    return max(float(np.abs(a - b).max()) for a, b in pairs)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_fp32_is_optimums_graph(make_checkpoint: MakeCheckpoint, tmp_path: Path, activation: str) -> None:
    checkpoint = checkpoint_of(make_checkpoint(config={"hidden_act": activation}))
    native = save(build_graph(checkpoint), tmp_path / "native.onnx")
    reference = Reference(trace(checkpoint, tmp_path / "traced"), "optimum")
    assert worst(native, reference, vocabulary=64, longest=64) < 1e-5


SHAPES = {
    "small": {},
    "small-zh": {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048, "num_hidden_layers": 4},
    "base": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    # Three of the 24 layers of large: all layers are alike, and CI has little memory.
    "large": {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "num_hidden_layers": 3},
}


@pytest.mark.parametrize("size", SHAPES)
def test_fp32_is_optimums_graph_at_the_real_sizes(
    make_checkpoint: MakeCheckpoint, data: Path, tmp_path: Path, size: str
) -> None:
    """With the real configs and tokenizer, and seeded weights, each element is within 1e-4."""
    folder = make_checkpoint(f"bge-{size}", like=data / "bge-small-en-v1.5", config=SHAPES[size])
    checkpoint = checkpoint_of(folder)
    native = save(build_graph(checkpoint), tmp_path / "native.onnx")
    reference = Reference(trace(checkpoint, tmp_path / "traced"), "optimum")
    assert worst(native, reference, vocabulary=30522, longest=200) < 1e-4


def test_fp16_is_the_fp32_graph_to_three_digits(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    model = build_graph(checkpoint_of(make_checkpoint()))
    first, second = save(model, tmp_path / "fp32.onnx"), save(to_float16(model), tmp_path / "fp16.onnx")
    assert worst(first, second, vocabulary=64, longest=64) < 2e-2


def test_a_graph_has_the_inputs_and_output_of_the_bundle_format(make_checkpoint: MakeCheckpoint) -> None:
    graph = build_graph(checkpoint_of(make_checkpoint())).graph
    assert [tensor.name for tensor in graph.input] == ["input_ids", "attention_mask"]
    assert [tensor.name for tensor in graph.output] == ["last_hidden_state"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"model_type": "t5"},
            r"is a t5 model; the native exporter supports bert.*; run `embedge export --exporter optimum`",
        ),
        ({"architectures": ["BertForSequenceClassification"]}, "a classifier of 2 labels"),
        ({"architectures": ["BertForSequenceClassification"], "num_labels": 1}, "reranks with token types"),
        ({"model_type": "xlm-roberta", "pad_token_id": 64}, "has pad_token_id 64 and 64 positions"),
        ({"vocab_size": "many"}, "a value of the wrong type"),
        ({"position_embedding_type": "relative_key"}, "relative position embeddings"),
        ({"hidden_act": "swish"}, "activation 'swish'"),
        ({"num_attention_heads": 5}, "hidden_size 32 is not a multiple of 5 heads"),
        ({"intermediate_size": 0}, "a size below 1"),
        ({"hidden_size": None}, "has no valid size: hidden_size is None"),
        ({"num_hidden_layers": 1.5}, "has no valid size: num_hidden_layers is 1.5"),
        ({"num_attention_heads": True}, "has no valid size: num_attention_heads is True"),
        ({"intermediate_size": float("inf")}, "Infinity is not a JSON number"),
        ({"num_attention_heads": 10**30}, "is not a multiple of"),
        ({"layer_norm_eps": float("nan")}, "NaN is not a JSON number"),
        ({"layer_norm_eps": -1e-12}, "has layer_norm_eps -1e-12"),
        ({"layer_norm_eps": "1e-12"}, "has layer_norm_eps '1e-12'"),
        ({"hidden_act": ["gelu"]}, r"activation \['gelu'\]"),
        ({"is_decoder": True}, "is a decoder"),
        ({"num_hidden_layers": 3}, r"has no tensor encoder\.layer\.2"),
        ({"intermediate_size": 65}, r"is \[64, 32\], config.json says \[65, 32\]"),
    ],
)
def test_a_config_that_is_not_supported_is_an_error_that_says_why(
    make_checkpoint: MakeCheckpoint, config: dict[str, Any], message: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    import json
    import shutil

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "broken"))
    saved = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**saved, **config}))
    with pytest.raises(CheckpointError, match=message):
        build_graph(checkpoint_of(folder))


def test_a_weight_that_is_nan_is_an_error(make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(tiny_checkpoint / "model.safetensors")
    tensors["embeddings.LayerNorm.weight"][3] = np.nan
    with pytest.raises(CheckpointError, match="holds NaN"):
        build_graph(checkpoint_of(make_checkpoint(tensors=tensors)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_are_read(
    make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path, tmp_path: Path, dtype: str
) -> None:
    """The tensors have a "bert." prefix, as in a fine-tune with a head."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = make_checkpoint()
    tensors = load_file(tiny_checkpoint / "model.safetensors")
    half = {f"bert.{name}": tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    save_file(half, folder / "model.safetensors")
    first = save(build_graph(checkpoint_of(tiny_checkpoint)), tmp_path / "fp32.onnx")
    second = save(build_graph(checkpoint_of(folder)), tmp_path / f"{dtype}.onnx")
    assert 0 < worst(first, second, vocabulary=64, longest=64) < 0.1
