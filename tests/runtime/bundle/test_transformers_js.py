"""transformers_js.py and cut.py: config.json names the graphs that a bundle has, for transformers.js."""

import hashlib
import json
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle, BundleCorruptError, Embedder
from embedge.bundle.copy import copy_bundle
from embedge.bundle.transformers_js import with_transformers_js
from manifests import change

GOLDEN = Path(__file__).parents[2] / "golden" / "format-1"
MEMBER = "transformers.js_config"


def config_of(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def record(folder: Path) -> None:
    """Write the checksums of a changed config.json into the manifest."""
    content = (folder / "config.json").read_bytes()
    sums = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "crc32": f"{zlib.crc32(content):08x}"}
    change(folder, lambda data: data["files"].update({"config.json": sums}))


@pytest.mark.parametrize(
    ("precisions", "dtype", "weights"),
    [
        (None, "int8", {"model_int8.onnx": 1, "model.onnx": 1}),
        (("int8",), "int8", {"model_int8.onnx": 1}),
        (("fp32",), "fp32", {"model.onnx": 1}),
    ],
)
def test_a_copy_names_its_graphs_and_the_default(
    tiny_bundle: Bundle, tmp_path: Path, precisions: Sequence[str] | None, dtype: str, weights: dict[str, int]
) -> None:
    copy = copy_bundle(tiny_bundle, tmp_path / "copy", precisions=precisions)
    copy.check()
    assert Bundle.open(copy.path).manifest == copy.manifest
    config = config_of(copy.path)
    assert config.pop(MEMBER) == {"dtype": dtype, "use_external_data_format": weights}
    before = config_of(tiny_bundle.path)
    before.pop(MEMBER)
    assert config == before


def test_a_copy_of_the_same_precisions_is_made_once(tiny_bundle: Bundle, tmp_path: Path) -> None:
    copy_bundle(tiny_bundle, tmp_path / "copy", precisions=["int8"])
    inode = (tmp_path / "copy" / "embedge.json").stat().st_ino
    copy_bundle(tiny_bundle, tmp_path / "copy", precisions=["int8"])
    assert (tmp_path / "copy" / "embedge.json").stat().st_ino == inode


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def test_an_old_bundle_gets_the_member_when_it_is_cut_and_only_then(tmp_path: Path, name: str) -> None:
    old = Bundle.open(GOLDEN / name)
    assert MEMBER not in config_of(old.path)
    whole = copy_bundle(old, tmp_path / "whole")
    assert (whole.path / "config.json").read_bytes() == (old.path / "config.json").read_bytes()
    copy = copy_bundle(old, tmp_path / "copy", precisions=["int8"])
    copy.check()
    weights = {"use_external_data_format": {"model_int8.onnx": 1}} if len(list(copy.path.glob("onnx/*"))) > 1 else {}
    assert config_of(copy.path)[MEMBER] == {"dtype": "int8", **weights}
    assert (Embedder(copy.path).encode("the cat") == Embedder(old.path, precision="int8").encode("the cat")).all()


def test_a_graph_in_one_file_has_no_second_one() -> None:
    assert json.loads(with_transformers_js({}, ["onnx/model.onnx"])) == {MEMBER: {"dtype": "fp32"}}


def test_the_checkpoints_own_member_goes(tiny_bundle: Bundle) -> None:
    """It names the graphs of the checkpoint's repository."""
    config = {"hidden_size": 1e-12, MEMBER: {"dtype": "q8", "device_config": {"webgpu": {"dtype": "q4"}}}, "名": "é"}
    content = with_transformers_js(config, ["onnx/model_fp16.onnx", "onnx/model_fp16.onnx_data"])
    member = {"dtype": "fp16", "use_external_data_format": {"model_fp16.onnx": 1}}
    assert json.loads(content) == {"hidden_size": 1e-12, "名": "é", MEMBER: member}


def test_a_damaged_config_is_not_copied(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "damaged"))
    content = (folder / "config.json").read_bytes()
    for wrong in (content + b" ", content[:-2] + b" }", b""):
        (folder / "config.json").write_bytes(wrong)
        with pytest.raises(BundleCorruptError, match=r"^config.json of .*; download or copy it again$"):
            copy_bundle(Bundle.open(folder), tmp_path / "copy", precisions=["int8"])
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b'{"a": NaN}'])
def test_a_config_that_is_no_json_object_is_copied_as_it_is(
    tiny_bundle: Bundle, tmp_path: Path, content: bytes
) -> None:
    """An export writes none, and the runtime reads none."""
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "foreign"))
    (folder / "config.json").write_bytes(content)
    record(folder)
    copy = copy_bundle(Bundle.open(folder), tmp_path / "copy", precisions=["int8"])
    assert (copy.path / "config.json").read_bytes() == content
