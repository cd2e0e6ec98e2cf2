"""Write a checkpoint of bge-small's shape as the two files that fasttextembed reads.

The package has no converter. The format is that of ``src/fte_format.h``, ``src/loader.c`` and ``tools/convert.py`` in
https://github.com/cemsina/fasttextembed at 2f6e5f7: a header, a table of tensors, and the tensors at multiples of 64
bytes. The names are those of the ONNX file that the author converted.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embedge.errors import CheckpointError
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.checkpoint.tensors import Tensors

_HEADER = struct.Struct("<QQ11I")  # offsets of table and tensors, magic, version, the shape, tensors, 0
_ENTRY = struct.Struct("<QQ64s6i")  # offset, bytes, name, dimensions, shape, type
_MAGIC, _VERSION, _ALIGNMENT = 0x31455446, 2, 64
_FLOAT32, _FLOAT16 = 0, 1
# The only shape that the library was compiled for (src/config.h), in the order of the header.
_SHAPE = {
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}
_HIDDEN, _WIDE = _SHAPE["hidden_size"], _SHAPE["intermediate_size"]
# Three weights of each layer have the numbers that PyTorch's exporter gave them (src/layer_matmul_names.c).
_FIRST_NUMBER, _NUMBERS_PER_LAYER = 1536, 13


def write_fte(checkpoint: Checkpoint, path: Path) -> None:
    """Write the weights atomically: matrices and tables as float16, [inputs, outputs], and the rest as float32.

    Raises:
        CheckpointError: the checkpoint is not a BERT model of bge-small's shape, or a tensor is missing.
    """
    found = {key: checkpoint.config.get(key) for key in _SHAPE}
    if checkpoint.architecture != "bert" or found != _SHAPE:
        raise CheckpointError(
            f"{checkpoint.directory} is {checkpoint.architecture} with {found}, and fasttextembed has only bge-small's "
            "shape; leave the row out: name the other rows with `--peers NAME`"
        )
    with Tensors(checkpoint) as tensors:
        arrays = dict(_arrays(tensors))
    table = _aligned(_HEADER.size)
    start = _aligned(table + _ENTRY.size * len(arrays))
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(_HEADER.pack(table, start, _MAGIC, _VERSION, *_SHAPE.values(), len(arrays), 0).ljust(table, b"\0"))
        offset = start
        for name, array in arrays.items():
            sizes = (*array.shape, 0, 0, 0, 0)[:4]
            kind = _FLOAT16 if array.dtype == np.float16 else _FLOAT32
            file.write(_ENTRY.pack(offset, array.nbytes, name.encode(), array.ndim, *sizes, kind))
            offset = _aligned(offset + array.nbytes)
        for array in arrays.values():
            file.write(b"\0" * (_aligned(file.tell()) - file.tell()))
            file.write(array.tobytes())
    part.replace(path)


def write_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """Write the vocabulary: a line for each token, with its id behind a tab."""
    ids = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    path.write_text("".join(f"{token}\t{index}\n" for token, index in ids), encoding="utf-8")


def _aligned(offset: int) -> int:
    """The first multiple of the alignment that is not below the offset.

    >>> _aligned(1), _aligned(64)
    (64, 64)
    """
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _arrays(tensors: Tensors) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Every tensor under the library's name."""
    for table, rows in (
        ("word", "vocab_size"),
        ("position", "max_position_embeddings"),
        ("token_type", "type_vocab_size"),
    ):
        name = f"embeddings.{table}_embeddings.weight"
        yield name, tensors.get(name, _SHAPE[rows], _HIDDEN).astype(np.float16)
    yield from _vectors(tensors, "embeddings.LayerNorm")
    for layer in range(_SHAPE["num_hidden_layers"]):
        at, number = f"encoder.layer.{layer}", _FIRST_NUMBER + _NUMBERS_PER_LAYER * layer
        parts = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        yield f"Attention_{layer}_qkv_weight", np.hstack([_matrix(tensors, part, _HIDDEN, _HIDDEN) for part in parts])
        yield f"Attention_{layer}_qkv_bias", np.hstack([tensors.get(f"{part}.bias", _HIDDEN) for part in parts])
        dense = (("attention.output", _HIDDEN, _HIDDEN), ("intermediate", _WIDE, _HIDDEN), ("output", _HIDDEN, _WIDE))
        for place, (part, outputs, inputs) in enumerate(dense):
            name = f"{at}.{part}.dense"
            yield f"onnx::MatMul_{number + place}", _matrix(tensors, name, outputs, inputs)
            yield f"{name}.bias", tensors.get(f"{name}.bias", outputs)
            if part != "intermediate":
                yield from _vectors(tensors, f"{at}.{part}.LayerNorm")


def _matrix(tensors: Tensors, name: str, outputs: int, inputs: int) -> NDArray[np.float16]:
    """A weight as float16, [inputs, outputs]."""
    return np.ascontiguousarray(tensors.get(f"{name}.weight", outputs, inputs).T.astype(np.float16))


def _vectors(tensors: Tensors, norm: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for part in ("weight", "bias"):
        yield f"{norm}.{part}", tensors.get(f"{norm}.{part}", _HIDDEN)
