"""Graphs with wrong outputs, each with a correct checksum in the manifest.

embedge must refuse the bundle, or return the vectors that numpy computes from the graph's table of embeddings.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from campaign.mutate import change_bytes
from campaign.trial import Bench, FaultError, check_unit
from embedge import Bundle, Embedder
from embedge_export.bundle_files import record_files, write_manifest

_ROWS, _DIMENSION = 64, 32
_FILE = "onnx/model.onnx"
# Two texts of each length, so that a batch has more than one text.
_TEXTS = ("the cat sat", "a dog ran", "how do i bake bread", "the blue river and stone", "cat", "dog")


@cache
def _table() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((_ROWS, _DIMENSION)).astype(np.float32)


def _node(kind: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), ["last_hidden_state"], **attributes)


def _constant(name: str, value: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


# Changes to the hidden states: a node that makes the output from "h", and the constants that it needs.
_INTS: dict[str, list[int]] = {"zero": [0], "one": [1], "two": [2], "ends": [-1], "hid": [2], "huge": [1 << 40]}
_LIES: dict[str, Callable[[], onnx.NodeProto]] = {
    "nothing": lambda: _node("Identity", "h"),
    "of rank 2": lambda: _node("ReduceMean", "h", "one", keepdims=0),
    "of rank 4": lambda: _node("Unsqueeze", "h", "zero"),
    "of rank 1": lambda: _node("Reshape", "h", "ends"),
    "with one row": lambda: _node("Slice", "h", "zero", "one", "zero"),
    "with the rows' mean": lambda: _node("ReduceMean", "h", "zero", keepdims=1),
    "with every row twice": lambda: _node("Concat", "h", "h", axis=0),
    "with no row": lambda: _node("Slice", "h", "zero", "zero", "zero"),
    "with the first token alone": lambda: _node("Slice", "h", "zero", "one", "one"),
    "without the first token": lambda: _node("Slice", "h", "one", "huge", "one"),
    "with every token twice": lambda: _node("Concat", "h", "h", axis=1),
    "with no token": lambda: _node("Slice", "h", "zero", "zero", "one"),
    "with batch and tokens exchanged": lambda: _node("Transpose", "h", perm=[1, 0, 2]),
    "with tokens and dimensions exchanged": lambda: _node("Transpose", "h", perm=[0, 2, 1]),
    "with half the dimensions": lambda: _node("Slice", "h", "zero", "two", "hid"),
    "with the dimensions twice": lambda: _node("Concat", "h", "h", axis=2),
    "of NaN": lambda: _node("Mul", "h", "nan"),
    "with a NaN": lambda: _node("Add", "h", "one_nan"),
    "of infinities": lambda: _node("Mul", "h", "inf"),
    "with an infinity": lambda: _node("Add", "h", "one_inf"),
    "of huge values": lambda: _node("Mul", "h", "large"),
    "of the largest values": lambda: _node("Mul", "h", "largest"),
    "of tiny values": lambda: _node("Mul", "h", "small"),
    "of subnormal values": lambda: _node("Mul", "h", "smallest"),
    "of zeros": lambda: _node("Mul", "h", "none"),
    "that takes what there is not": lambda: _node("Gather", "h", "huge", axis=1),
}
_TYPES = ("DOUBLE", "FLOAT16", "BFLOAT16", "INT64", "INT32", "INT8", "UINT8", "BOOL", "STRING")
_FLOATS = {"nan": np.nan, "inf": np.inf, "large": 1e25, "largest": 1e38, "small": 1e-25, "smallest": 1e-42, "none": 0}
# Other differences between a graph and its manifest.
_SHAPES = ("an output of another name", "another input", "no mask", "ids of 32 bits", "no output", "two outputs")


def _spoilt(random: Random) -> tuple[str, onnx.ModelProto]:
    kind = random.choice(("lie", "lie", "lie", "type", "shape"))
    lie = random.choice(sorted(_LIES)) if kind == "lie" else "nothing"
    output = "FLOAT"
    node = _LIES[lie]()
    if kind == "type":
        output = random.choice(_TYPES)
        lie, node = f"of {output.lower()}", _node("Cast", "h", to=getattr(TensorProto, output))
    shape = random.choice(_SHAPES) if kind == "shape" else ""
    dimensions: list[Any] = random.choice(([None, None, _DIMENSION], ["b", "s", None], []))
    inputs = {"input_ids": TensorProto.INT64, "attention_mask": TensorProto.INT64}
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["h"]), node]
    outputs = [helper.make_tensor_value_info("last_hidden_state", getattr(TensorProto, output), dimensions or None)]
    if shape == "an output of another name":
        nodes[1].output[0] = outputs[0].name = "hidden"
    elif shape == "another input":
        inputs["token_type_ids"] = TensorProto.INT64
    elif shape == "no mask":
        del inputs["attention_mask"]
    elif shape == "ids of 32 bits":
        inputs["input_ids"] = TensorProto.INT32
    elif shape == "no output":
        outputs = []
    elif shape == "two outputs":
        outputs.insert(0, helper.make_tensor_value_info("h", TensorProto.FLOAT, None))
    row = np.zeros((1, 1, _DIMENSION), np.float32)
    constants = [_constant("table", _table()), *(_constant(name, value) for name, value in _INTS.items())]
    constants += [_constant(name, np.float32(value)) for name, value in _FLOATS.items()]
    for name, value in (("one_nan", np.nan), ("one_inf", np.inf)):
        row[..., 3] = value
        constants.append(_constant(name, row.copy()))
    described = [helper.make_tensor_value_info(name, type_, ["b", "s"]) for name, type_ in inputs.items()]
    graph = helper.make_graph(nodes, "lie", described, outputs, constants)
    opset = [helper.make_opsetid("", 18)]
    return f"a graph {shape or 'with hidden states ' + lie}", helper.make_model(
        graph, opset_imports=opset, ir_version=9
    )


def _expected(bundle: Path, pooling: str) -> NDArray[np.float64]:
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    tokenizer.no_padding()
    rows = []
    for text in _TEXTS:
        hidden = _table()[tokenizer.encode(text).ids].astype(np.float64)
        rows.append({"cls": hidden[0], "last": hidden[-1], "mean": hidden.mean(axis=0)}[pooling])
    vectors: NDArray[np.float64] = np.array(rows)
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _bundle(bench: Bench, data: bytes, pooling: str) -> Path:
    """Make a bundle with this graph only, and with a correct manifest."""
    folder = bench.folder / "bundle"
    (folder / "onnx").mkdir(parents=True)
    for path in bench.bundle.iterdir():
        if path.is_file() and path.name != "embedge.json":
            shutil.copyfile(path, folder / path.name)
    (folder / _FILE).write_bytes(data)
    manifest = Bundle.open(bench.bundle).manifest
    precisions = {"fp32": replace(manifest.precisions["fp32"], file=_FILE)}
    new = replace(manifest, files={}, pooling=pooling, precisions=precisions, dimension=_DIMENSION)  # type: ignore[arg-type]
    write_manifest(folder, replace(new, files=record_files(folder, known={})))
    return folder


def trial(bench: Bench, random: Random) -> None:
    """Load one wrong graph, or a protobuf that was damaged before its checksum was computed."""
    pooling = random.choice(("cls", "mean", "last"))
    what, model = _spoilt(random)
    data, damaged = model.SerializeToString(), random.random() < 0.3
    if damaged:
        done, data = change_bytes(data, random)
        what = f"{what} of which {done}"
    bundle = _bundle(bench, data, pooling)
    loaded = Embedder(bundle, threads=random.choice((1, 1, 2)))
    with np.errstate(all=random.choice(("warn", "raise", "ignore"))):  # numpy.seterr may set it for the whole process
        found = loaded.encode(list(_TEXTS))
    check_unit(found, len(_TEXTS), _DIMENSION, f"{what}, {pooling}")
    if not damaged and not what.endswith("of zeros"):
        _compare(found, _expected(bundle, pooling), f"{what}, {pooling}", coarse="16" in what or "subnormal" in what)


def _compare(found: NDArray[np.float32], expected: NDArray[np.float64], what: str, *, coarse: bool) -> None:
    difference = float(np.abs(found - expected).max())
    if difference > (2e-2 if coarse else 1e-5):
        raise FaultError(f"vectors are others than numpy's: {difference:.2g} an element, {what}")
