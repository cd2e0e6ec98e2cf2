"""prune.py: the pruned graph computes the same first token as the whole graph."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from embedge import Bundle, Embedder
from embedge_export import export
from embedge_export.graph.linear import linear_layers
from embedge_export.graph.prune import prune_to_first_token, with_split_layers
from embedge_export.verify.reference import Reference

MakeCheckpoint = Callable[..., Path]


def save(model: ModelProto, path: Path) -> Reference:
    path.write_bytes(model.SerializeToString())
    return Reference(path, path.name)


@pytest.mark.parametrize("lengths", [[30], [1], [30, 12, 5, 1], [7, 7, 7]])
def test_the_first_token_is_that_of_the_whole_graph(model: ModelProto, tmp_path: Path, lengths: list[int]) -> None:
    """Each element is within 1e-6, with and without padding."""
    before = model.SerializeToString()
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(0).integers(1, 64, mask.shape) * mask
    whole, pruned = save(model, tmp_path / "whole.onnx"), save(prune_to_first_token(model), tmp_path / "pruned.onnx")
    found = pruned.run(ids, mask)
    assert found.shape == (len(lengths), 1, 32)
    np.testing.assert_allclose(found[:, 0], whole.run(ids, mask)[:, 0], atol=1e-6)
    assert model.SerializeToString() == before


def test_only_the_last_layer_has_a_query_of_its_own(model: ModelProto) -> None:
    names = [node.name.removeprefix("encoder.layer.") for node in linear_layers(prune_to_first_token(model))]
    assert names == [
        *("0.attention.qkv", "0.attention.output.dense", "0.intermediate.dense", "0.output.dense"),
        *("1.attention.q", "1.attention.kv", "1.attention.output.dense", "1.intermediate.dense", "1.output.dense"),
    ]
    assert with_split_layers({"a.attention.qkv": 1, "b": 2}) == {
        **{"a.attention.qkv": 1, "a.attention.q": 1, "a.attention.kv": 1, "b": 2}
    }


def test_only_a_checkpoint_with_cls_pooling_is_pruned(tiny_checkpoint: Path, make_checkpoint: MakeCheckpoint) -> None:
    def tokens(bundle: Bundle, precision: str) -> int:
        ids = np.full((2, 5), 7, np.int64)
        graph = Reference(bundle.path / bundle.manifest.precisions[precision].file, "")
        return int(graph.run(ids, ids * 0 + 1).shape[1])

    cls = export(tiny_checkpoint, precisions=("int8", "fp32", "fp16"))
    assert [tokens(cls, precision) for precision in ("int8", "fp32", "fp16")] == [1, 1, 1]
    mean_folder = make_checkpoint("mean")
    (mean_folder / "1_Pooling/config.json").write_text('{"pooling_mode": "mean"}')
    mean = export(mean_folder, precisions=("int8",))
    assert tokens(mean, "int8") == 5
    assert Embedder(mean.path).encode("the cat").shape == (32,)
