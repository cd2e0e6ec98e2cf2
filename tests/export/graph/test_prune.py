"""first_token.py: the trimmed graph against the whole one."""

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
    """Padded or not; every element to 1e-6."""
    before = model.SerializeToString()
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids = np.random.default_rng(0).integers(1, 64, mask.shape) * mask
    first, second = save(model, tmp_path / "whole.onnx"), save(prune_to_first_token(model), tmp_path / "trimmed.onnx")
    found = second.run(ids, mask)
    assert found.shape == (len(lengths), 1, 32)
    np.testing.assert_allclose(found[:, 0], first.run(ids, mask)[:, 0], atol=1e-6)
    assert model.SerializeToString() == before


def test_the_last_layer_asks_with_one_token_and_the_others_with_all(model: ModelProto) -> None:
    names = [node.name.removeprefix("encoder.layer.") for node in linear_layers(prune_to_first_token(model))]
    assert names == [
        *("0.attention.qkv", "0.attention.output.dense", "0.intermediate.dense", "0.output.dense"),
        *("1.attention.q", "1.attention.kv", "1.attention.output.dense", "1.intermediate.dense", "1.output.dense"),
    ]
    assert with_split_layers({"a.attention.qkv": 1, "b": 2}) == {
        **{"a.attention.qkv": 1, "a.attention.q": 1, "a.attention.kv": 1, "b": 2}
    }


def test_only_what_pools_by_cls_is_trimmed(tiny_checkpoint: Path, make_checkpoint: MakeCheckpoint) -> None:
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
