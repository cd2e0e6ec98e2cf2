"""by_layer.py and piece.py: a graph that is made layer by layer is the graph that is made as a whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnx.numpy_helper import to_array

from embedge_export.graph.encoder import build_graph, build_pieces
from embedge_export.graph.float16 import piece_to_float16, to_float16
from embedge_export.graph.prune import prune_piece, prune_to_first_token, with_split_layers
from embedge_export.graph.write import write_pieces
from embedge_export.int8 import text_states as text_states_module
from embedge_export.int8.by_layer import quantise_by_layer
from embedge_export.int8.calibrate import text_states
from embedge_export.int8.quantise import quantise
from embedge_export.int8.saved_pieces import SavedPieces
from embedge_export.int8.smooth import smooth
from fitted import TEXTS, checkpoint_of, fit
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]
KINDS = ["bert", "reranker", "m3"]


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> Path:
    if request.param == "bert":
        return make_checkpoint(config={"num_hidden_layers": 3})
    return write_roberta(tmp_path / "checkpoint", rerank=request.param == "reranker", config={"num_hidden_layers": 3})


def check_same(found: ModelProto, expected: ModelProto) -> None:
    """Compare the nodes, inputs and outputs in order, and the constants by name."""
    for name in ("node", "input", "output"):
        first, second = (
            [value.SerializeToString(deterministic=True) for value in getattr(m.graph, name)] for m in (found, expected)
        )
        assert first == second
    constants = {tensor.name: to_array(tensor) for tensor in found.graph.initializer}
    assert constants.keys() == {tensor.name for tensor in expected.graph.initializer}
    for tensor in expected.graph.initializer:
        np.testing.assert_array_equal(constants[tensor.name], to_array(tensor), strict=True, err_msg=tensor.name)
    assert (found.ir_version, list(found.opset_import)) == (expected.ir_version, list(expected.opset_import))


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("first_token", [False, True])
def test_the_int8_graph_is_that_of_the_whole_model(
    folder: Path, tmp_path: Path, first_token: bool, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bitwise: the hidden states that pass from layer to layer, in memory or a file, are those inside the graph."""
    if not in_memory:
        monkeypatch.setattr(text_states_module, "_IN_MEMORY", 0)
    model, activations = smooth(*fit(folder))
    if first_token:
        model, activations = prune_to_first_token(model), with_split_layers(activations)
    states = text_states(TEXTS * 7, tokenizer=folder / "tokenizer.json", max_tokens=64, scratch=tmp_path)
    pieces = build_pieces(checkpoint_of(folder))
    saved = SavedPieces(tmp_path / "saved", "key")
    int8 = quantise_by_layer(pieces, states, saved, layers=3, first_token=first_token)
    write_pieces(int8, tmp_path / "int8.onnx")
    check_same(onnx.load(tmp_path / "int8.onnx"), quantise(model, activations))


@pytest.mark.parametrize("first_token", [False, True])
def test_fp32_and_fp16_graphs_are_those_of_the_whole_model(folder: Path, tmp_path: Path, first_token: bool) -> None:
    checkpoint = checkpoint_of(folder)
    model = build_graph(checkpoint)
    model = prune_to_first_token(model) if first_token else model
    pieces = [prune_piece(piece) if first_token else piece for piece in build_pieces(checkpoint)]
    write_pieces(pieces, tmp_path / "fp32.onnx")
    check_same(onnx.load(tmp_path / "fp32.onnx"), model)
    write_pieces(map(piece_to_float16, pieces), tmp_path / "fp16.onnx")
    check_same(onnx.load(tmp_path / "fp16.onnx"), to_float16(model))


def test_a_piece_has_the_weights_of_one_layer(folder: Path) -> None:
    pieces = list(build_pieces(checkpoint_of(folder)))
    assert len(pieces) == 5
    assert [bool(piece.tables) for piece in pieces] == [True, *[False] * 4]
    names = [{t.name for t in piece.model.graph.initializer if t.name.startswith("encoder")} for piece in pieces]
    assert not names[0]
    for number in range(3):
        at = f"encoder.layer.{number}"
        others = {name for name in names[number + 1] if not name.startswith(f"{at}.")}
        assert all("output.LayerNorm" in name for name in others)
        assert f"{at}.intermediate.dense.weight" in names[number + 1]
