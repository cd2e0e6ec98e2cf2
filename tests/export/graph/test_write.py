"""write.py: the two files hold the same graph as one file that onnx writes."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from embedge import Bundle
from embedge_export import export
from embedge_export.graph.write import write_graph
from embedge_export.verify.reference import Reference


def test_onnx_reads_the_two_files_as_the_graph_that_was_written(model: ModelProto, tmp_path: Path) -> None:
    before = model.SerializeToString(deterministic=True)
    write_graph(model, tmp_path / "graph.onnx")
    assert model.SerializeToString(deterministic=True) == before
    again = onnx.load(tmp_path / "graph.onnx")  # it loads the weights into the graph again
    for tensor in again.graph.initializer:
        tensor.ClearField("data_location")
    assert again.SerializeToString(deterministic=True) == before


def test_the_weights_are_beside_the_nodes_and_aligned(model: ModelProto, tmp_path: Path) -> None:
    write_graph(model, tmp_path / "graph.onnx")
    nodes_only = onnx.load(tmp_path / "graph.onnx", load_external_data=False)
    places = {
        t.name: {e.key: e.value for e in t.external_data} for t in nodes_only.graph.initializer if t.external_data
    }
    assert {place["location"] for place in places.values()} == {"graph.onnx_data"}
    assert [int(place["offset"]) % 64 for place in places.values()] == [0] * len(places)
    assert (tmp_path / "graph.onnx").stat().st_size < (tmp_path / "graph.onnx_data").stat().st_size
    small = {tensor.name for tensor in model.graph.initializer if len(tensor.raw_data) < 1024}
    assert small == {tensor.name for tensor in nodes_only.graph.initializer} - set(places)


def test_two_files_run_as_one_does(model: ModelProto, tmp_path: Path) -> None:
    write_graph(model, tmp_path / "two.onnx")
    (tmp_path / "one.onnx").write_bytes(model.SerializeToString())
    ids = np.random.default_rng(0).integers(1, 64, (3, 9))
    two, one = (Reference(tmp_path / f"{name}.onnx", name).run(ids, ids * 0 + 1) for name in ("two", "one"))
    np.testing.assert_array_equal(two, one)


def test_weights_of_an_older_graph_are_removed(model: ModelProto, tmp_path: Path) -> None:
    write_graph(model, tmp_path / "graph.onnx")
    del model.graph.initializer[:]
    write_graph(model, tmp_path / "graph.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.onnx"]


def test_an_export_writes_damaged_weights_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32"), verify=False)
    (bundle.path / "onnx/model.onnx_data").write_bytes(b"junk")
    export(tiny_checkpoint, tmp_path / "b", verify=False).check()
    assert set(Bundle.open(tmp_path / "b").manifest.precisions) == {"int8", "fp32"}
