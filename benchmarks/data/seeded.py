"""Checkpoints with the shape of a published model and seeded random weights.

Their vectors mean nothing. Their speed and memory are those of the published model, because the time of a kernel does
not depend on the values that it multiplies.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Tensors = dict[str, NDArray[np.float32]]

# The differences between the published config.json files of BAAI/bge-*-en-v1.5. The tokenizer is the same for all.
SHAPES: Mapping[str, Mapping[str, int]] = {
    "small": {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "num_hidden_layers": 12},
    "base": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 12},
    "large": {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096, "num_hidden_layers": 24},
}


def write_seeded(shape: str, model: Path, folder: Path) -> Path:
    """Write a checkpoint to ``folder``: a shape of SHAPES, and the tokenizer and other files of ``model``."""
    shutil.copytree(model, folder, copy_function=shutil.copyfile)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | SHAPES[shape]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(random_tensors(config), folder / "model.safetensors")
    return folder


def random_tensors(config: Mapping[str, Any], seed: int = 0) -> Tensors:
    """Random tensors of a BertModel; scaled like trained ones, so that attention is not uniform."""
    random = np.random.default_rng(seed)
    hidden, wide = config["hidden_size"], config["intermediate_size"]

    def normal(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    def norm(name: str) -> Tensors:
        return {f"{name}.weight": 1 + normal(hidden), f"{name}.bias": normal(hidden)}

    def linear(name: str, outputs: int, inputs: int) -> Tensors:
        return {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": normal(outputs)}

    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    tensors = {f"embeddings.{name}_embeddings.weight": normal(config[key], hidden) for name, key in tables.items()}
    tensors |= norm("embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            tensors |= linear(f"{at}.attention.self.{name}", hidden, hidden)
        tensors |= linear(f"{at}.attention.output.dense", hidden, hidden) | norm(f"{at}.attention.output.LayerNorm")
        tensors |= linear(f"{at}.intermediate.dense", wide, hidden) | linear(f"{at}.output.dense", hidden, wide)
        tensors |= norm(f"{at}.output.LayerNorm")
    return tensors
