"""fuse.py: the fused graph, run by its operators' definition in numpy, gives what the plain graph gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from embedge_export.graph.cpu_session import CpuSession
from embedge_export.graph.prune import prune_to_first_token, with_split_layers
from embedge_export.graph.write import write_graph
from embedge_export.int8 import activation_scale
from embedge_export.int8.fuse import fuse
from embedge_export.int8.quantise import quantise
from embedge_export.int8.smooth import smooth
from embedge_export.int8.write_fused import write_fused
from fitted import fit
from fused_interpreter import run_fused
from seeded_roberta import write_roberta
from tests.kernels import reference

MakeCheckpoint = Callable[..., Path]
Checkpoints = Callable[[str], Path]
Floats = NDArray[np.float32]
# The smallest sizes that the operators take, and two heads of 64.
SIZES: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}
WIDE: dict[str, Any] = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 192}
BERT = {"gelu": SIZES, "relu": SIZES | {"hidden_act": "relu"}, "tanh": SIZES | {"hidden_act": "gelu_new"}, "wide": WIDE}
ROBERTA = {"roberta with heads": False, "reranker": True}
KINDS = [(kind, is_pruned) for kind in (*BERT, "reranker") for is_pruned in (False, True)]
KINDS += [("roberta with heads", False)]  # whose heads read all tokens


@pytest.fixture(scope="module")
def checkpoints(make_checkpoint: MakeCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """Writes a kind of checkpoint, once."""
    made: dict[str, Path] = {}

    def checkpoint(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp("fused") / "checkpoint"
            is_bert = kind in BERT
            made[kind] = (
                make_checkpoint(config=BERT[kind])
                if is_bert
                else write_roberta(folder, rerank=ROBERTA[kind], config=SIZES)
            )
        return made[kind]

    return checkpoint


def write_both(checkpoint: Path, folder: Path, *, is_pruned: bool = False, is_smoothed: bool = True) -> None:
    """Write ``plain.onnx`` and ``fused.onnx`` of a checkpoint into a folder, as an export does."""
    model, activations = fit(checkpoint)
    if is_smoothed:
        model, activations = smooth(model, activations)
    if is_pruned:
        model, activations = prune_to_first_token(model), with_split_layers(activations)
    write_graph(quantise(model, activations), folder / "plain.onnx")
    assert write_fused(folder / "plain.onnx", folder / "fused.onnx") is None


def run_both(folder: Path, ids: NDArray[np.int64]) -> list[tuple[str, Floats, Floats]]:
    """Return each output by its name, from both graphs."""
    fused = run_fused(onnx.load(folder / "fused.onnx"), ids)
    session = CpuSession(folder / "plain.onnx", optimise=False)
    plain = session.run(list(fused), {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return [(name, fused[name], values) for name, values in zip(fused, plain, strict=True)]


def check_same(folder: Path, *, least: float) -> None:
    """Compare the outputs on single tokens, short and longer texts; an id may be that of the padding token."""
    random = np.random.default_rng(0)
    for shape in ((1, 1), (9, 2), (9, 7), (3, 40)):
        for name, fused, plain in run_both(folder, random.integers(0, 60, shape)):
            assert fused.shape == plain.shape
            # Of outputs with one number for a token or a text, all numbers together are one vector.
            shape_of_vectors = fused.shape if fused.ndim > 2 else (1, -1)
            a, b = (x.astype(np.float64).reshape(shape_of_vectors) for x in (fused, plain))
            lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
            # The ReLU of token weights may leave nothing.
            cosines = (a * b).sum(axis=-1)[lengths > 0] / lengths[lengths > 0]
            assert cosines.min(initial=1) > least, (name, shape)
            np.testing.assert_allclose(np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1), rtol=0.02)


@pytest.mark.parametrize(("kind", "is_pruned"), KINDS)
@pytest.mark.parametrize("most_noise", [0, 1e9], ids=["dynamic", "static"])
def test_the_fused_graph_is_wired_like_the_plain_one(
    checkpoints: Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    is_pruned: bool,
    most_noise: float,
) -> None:
    """With dynamic scales alone, and with static scales wherever the plain graph may have them; Q and K are floats."""
    monkeypatch.setattr(activation_scale, "MAX_STATIC_NOISE", most_noise)
    monkeypatch.setattr(reference, "rounded", lambda rows: rows)
    write_both(checkpoints(kind), tmp_path, is_pruned=is_pruned)
    scales = {node.input[4] for node in onnx.load(tmp_path / "fused.onnx").graph.node if node.op_type == "EncoderLayer"}
    assert all(scales) if most_noise else scales == {""}
    check_same(tmp_path, least=0.9999)


def test_the_fused_graph_of_an_unsmoothed_graph_is_wired_like_it(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There are no factors on the residual paths, nor in front of a head."""
    monkeypatch.setattr(reference, "rounded", lambda rows: rows)
    write_both(checkpoints("roberta with heads"), tmp_path, is_smoothed=False)
    layers = [node for node in onnx.load(tmp_path / "fused.onnx").graph.node if node.op_type == "EncoderLayer"]
    assert {node.input[place] for node in layers for place in (12, 22)} == {""}
    check_same(tmp_path, least=0.9999)


def test_int8_queries_and_keys_change_little(checkpoints: Checkpoints, tmp_path: Path) -> None:
    write_both(checkpoints("gelu"), tmp_path)
    check_same(tmp_path, least=0.9999)


def test_the_weights_are_those_in_the_plain_graphs_file(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """References have the same file, offset and length; of large constants, only whole biases are in the graph."""
    write_both(checkpoints("wide"), tmp_path)
    plain, fused = (
        {tensor.name: tensor for tensor in onnx.load(tmp_path / name, load_external_data=False).graph.initializer}
        for name in ("plain.onnx", "fused.onnx")
    )
    assert {tensor.data_location for tensor in fused.values()} == {TensorProto.DEFAULT, TensorProto.EXTERNAL}
    made = [name for name in fused if name not in plain]
    assert all(name.endswith(".attention.qkv.whole_bias") for name in made)
    assert all(fused[name] == plain[name] for name in fused if name in plain)
    assert {path.name for path in tmp_path.iterdir()} == {"plain.onnx", "plain.onnx_data", "fused.onnx"}


def test_the_fused_graph_is_a_valid_onnx_model(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Also of RoBERTa, which has nodes of its own; its inputs, outputs and opset are the plain graph's."""
    write_both(checkpoints("roberta with heads"), tmp_path)
    onnx.checker.check_model(tmp_path / "fused.onnx")
    plain, fused = (onnx.load(tmp_path / name) for name in ("plain.onnx", "fused.onnx"))
    assert (list(fused.graph.input), list(fused.graph.output)) == (list(plain.graph.input), list(plain.graph.output))
    assert {opset.domain: opset.version for opset in fused.opset_import} == {"": 23, "embedge": 1}
    assert fused.ir_version == plain.ir_version


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"hidden_size": 32, "num_attention_heads": 1}, "hidden size 32 is not a multiple of 64"),
        ({"intermediate_size": 96}, "intermediate size 96 is not a multiple of 64"),
        ({"num_attention_heads": 4}, "attention heads have size 16, not 32 or 64"),
    ],
)
def test_sizes_that_the_operators_lack_give_no_fused_graph(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, sizes: dict[str, int], reason: str
) -> None:
    """The reason is told, and a fused graph of before is gone."""
    write_graph(quantise(*fit(make_checkpoint(config=SIZES | sizes))), tmp_path / "plain.onnx")
    assert reason in str(write_fused(tmp_path / "plain.onnx", tmp_path / "fused.onnx"))
    assert not (tmp_path / "fused.onnx").exists()


def test_a_static_scale_without_an_input_is_an_error(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``quantise`` never makes one; if it ever does, no graph is written that would leave the scale out."""
    write_both(checkpoints("gelu"), tmp_path)
    model = onnx.load(tmp_path / "plain.onnx")
    product = next(node for node in model.graph.node if node.name.endswith("0.attention.output.dense.product"))
    product.input.extend(["", "encoder.layer.0.attention.output.dense.bias"])
    with pytest.raises(ValueError, match="static scale, for which EncoderLayer has no input"):
        fuse(model, tmp_path)
