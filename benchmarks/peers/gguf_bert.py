"""Write a BERT checkpoint as the GGUF file that llama.cpp's ``convert_hf_to_gguf.py --outtype q8_0`` writes.

Only llama.cpp's sources contain that script. The package gguf contains its writer, its quantiser and its tensor names.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
from gguf.quants import quantize
from tokenizers import Tokenizer

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensors import Tensors

_POOLINGS = {"cls": gguf.PoolingType.CLS, "mean": gguf.PoolingType.MEAN, "last": gguf.PoolingType.LAST}
_Q8_0, _F32 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
# The script leaves these two tables in float32.
_KEPT = ("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight")

_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "mask")  # bos is [CLS], eos is [SEP]


def write_gguf(checkpoint: Checkpoint, path: Path) -> None:
    """Write the file atomically: matrices as Q8_0 (one float16 scale per 32 int8 weights), the rest as float32.

    Raises:
        CheckpointError: the checkpoint is not a BERT model with GELU, or a tensor is missing.
    """
    config = checkpoint.config
    if (checkpoint.architecture, config.get("hidden_act")) != ("bert", "gelu"):
        raise CheckpointError(
            f"{checkpoint.directory} is {checkpoint.architecture} with {config.get('hidden_act')}, and only bert with "
            "gelu can be written as GGUF here; leave the row out: name the other rows with `--only NAME`"
        )
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(part, "bert")
    _add_config(writer, checkpoint)
    _add_vocabulary(writer, checkpoint)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    with Tensors(checkpoint) as tensors:
        for name, shape in _shapes(config):
            kind = _Q8_0 if len(shape) == 2 and name not in _KEPT else _F32
            to = names.get_name(name, try_suffixes=(".weight", ".bias"))
            writer.add_tensor(to, quantize(tensors.get(name, *shape), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)


def _add_config(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(_POOLINGS[checkpoint.pooling])
    writer.add_token_type_count(config["type_vocab_size"])


def _add_vocabulary(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    """Add the WordPiece vocabulary. llama.cpp marks the first piece of a word with ▁; BERT marks the others with ##."""
    tokenizer = Tokenizer.from_buffer(checkpoint.tokenizer.data)
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    tokens: list[str] = []
    kinds: list[gguf.TokenType] = []
    for number in range(checkpoint.config["vocab_size"]):
        token = tokenizer.id_to_token(number)
        if token is None:
            tokens.append(f"[PAD{number}]")
            kinds.append(gguf.TokenType.UNUSED)
        elif number in special:
            tokens.append(token)
            kinds.append(gguf.TokenType.CONTROL)
        else:
            tokens.append(token[2:] if token.startswith("##") else f"▁{token}")
            kinds.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special_tokens = gguf.SpecialVocab(checkpoint.directory, special_token_types=_SPECIAL, n_vocab=len(tokens))
    special_tokens.add_to_gguf(writer, quiet=True)
    # By default, llama.cpp lowercases and strips accents. gguf 0.19 has no method for this field.
    lowercases = tokenizer.normalizer is not None and tokenizer.normalizer.normalize_str("A") == "a"
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", lowercases)


def _shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name and shape of every tensor, except the pooler's, which an embedder does not use."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    tables = {
        "word": config["vocab_size"],
        "position": config["max_position_embeddings"],
        "token_type": config["type_vocab_size"],
    }
    layer = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "attention.output.LayerNorm": (hidden,),
        "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner),
        "output.LayerNorm": (hidden,),
    }
    yield from ((f"embeddings.{table}_embeddings.weight", (rows, hidden)) for table, rows in tables.items())
    modules: dict[str, tuple[int, ...]] = {"embeddings.LayerNorm": (hidden,)}
    for number in range(config["num_hidden_layers"]):
        modules |= {f"encoder.layer.{number}.{module}": shape for module, shape in layer.items()}
    for module, shape in modules.items():
        yield f"{module}.weight", shape
        yield f"{module}.bias", shape[:1]
