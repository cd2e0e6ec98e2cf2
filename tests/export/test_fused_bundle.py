"""The fused graph as a file of a bundle: exported, named, checked, added to, cut, copied, pushed and pulled."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import loopback_hub
from embedge import Bundle, BundleCorruptError, BundleError, Embedder
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.copy import copy_bundle
from embedge.bundle.manifest import FUSED, Manifest
from embedge_export import convert, export
from fused_interpreter import run_fused
from hub_commands import run
from loopback_hub import READER, WRITER
from manifests import change

MakeCheckpoint = Callable[..., Path]
FILE = FUSED["int8"]
SIZES: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(config=SIZES)


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """int8 and fp32 of a checkpoint whose sizes the operators take."""
    return export(checkpoint, tmp_path_factory.mktemp("fused") / "b", precisions=("int8", "fp32"), verify=False)


@pytest.fixture
def bundle(exported: Bundle, tmp_path: Path) -> Bundle:
    """A copy that a test may change."""
    return Bundle.open(shutil.copytree(exported.path, tmp_path / "copy"))


def onnx_files(bundle: Bundle) -> set[str]:
    return {path.name for path in (bundle.path / "onnx").iterdir()}


def test_a_bundle_with_int8_names_its_fused_graph(exported: Bundle) -> None:
    assert exported.manifest.precisions["int8"].fused == FILE
    assert exported.manifest.precisions["fp32"].fused is None
    assert exported.fused_graph("int8") == exported.path / FILE
    assert exported.fused_graph("fp32") is None
    assert exported.manifest.files[FILE].size == (exported.path / FILE).stat().st_size
    assert exported.graph_files("int8") == ("onnx/model_int8.onnx", FILE, "onnx/model_int8.onnx_data")
    exported.check()


def test_the_fused_graph_gives_the_bundles_vectors(exported: Bundle) -> None:
    """Through every step of an export: the first token of CLS pooling, normalised."""
    ids = np.array([[2, 5, 6, 7, 3]])
    model = onnx.load(exported.path / FILE)
    (row,) = run_fused(model, ids)["last_hidden_state"][:, 0]
    expected = Embedder(exported.path, precision="int8").encode("the a cat")
    assert (row / np.linalg.norm(row)) @ expected > 0.9999


def test_an_export_tells_its_size(checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "embedge")
    export(checkpoint, tmp_path / "b", verify=False)
    (line,) = [line for line in caplog.messages if line.startswith("fuse ")]
    assert line.split("(")[0].split() == ["fuse", f"{(tmp_path / 'b' / FILE).stat().st_size / 1e3:.0f}", "kB"]


def test_an_export_tells_why_there_is_none(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "embedge")
    made = export(tiny_checkpoint, tmp_path / "b", verify=False)
    assert any("no fused graph: the hidden size 32 is not a multiple of 64" in line for line in caplog.messages)
    assert made.fused_graph("int8") is None
    assert FILE not in made.manifest.files
    assert onnx_files(made) == {"model_int8.onnx", "model_int8.onnx_data"}


def test_a_precision_is_added_beside_it(checkpoint: Path, exported: Bundle, tmp_path: Path) -> None:
    first = export(checkpoint, tmp_path / "b", verify=False)
    before = (first.path / FILE).read_bytes()
    both = export(checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    both.check()
    assert (both.path / FILE).read_bytes() == before
    assert both.manifest.precisions["int8"] == first.manifest.precisions["int8"]
    assert both.manifest.files.keys() == exported.manifest.files.keys()


def test_a_graph_without_one_replaces_it(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a traced graph would: neither the file nor its name is left."""
    folder, real = tmp_path / "b", convert.write_fused_graph
    export(checkpoint, folder, verify=False)
    assert FILE in Bundle.open(folder).manifest.files
    traced = "embedge_export.convert.write_fused_graph"
    monkeypatch.setattr(traced, lambda job, *rest: real(replace(job, exporter="optimum"), *rest))
    again = export(checkpoint, folder, verify=False, force=True)
    assert again.fused_graph("int8") is None
    assert onnx_files(again) == {"model_int8.onnx", "model_int8.onnx_data"}


def test_a_damaged_one_is_found_and_made_again(checkpoint: Path, bundle: Bundle) -> None:
    path = bundle.path / FILE
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleCorruptError, match=f"{FILE} has changed since it was exported.* --precision int8"):
        bundle.check()
    export(checkpoint, bundle.path, verify=False).check()


def test_one_without_a_hash_is_refused(bundle: Bundle) -> None:
    change(bundle.path, lambda manifest: manifest["files"].pop(FILE))
    with pytest.raises(BundleCorruptError, match=f"uses {FILE} but has no hash of it"):
        Bundle.open(bundle.path).check()
    with pytest.raises(BundleCorruptError, match=f"uses {FILE} but has no hash of it"):
        copy_bundle(Bundle.open(bundle.path), bundle.path.parent / "second")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../model.onnx", "names a file outside the bundle"),
        ("onnx/model_int8.onnx", "must name a graph of its own for each precision"),
        (7, "precisions.int8.fused must be str, found 7"),
    ],
)
def test_a_name_that_cannot_be_is_refused(bundle: Bundle, name: object, message: str) -> None:
    change(bundle.path, lambda manifest: manifest["precisions"]["int8"].update(fused=name))
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.path)


def test_a_bundle_from_before_there_were_any_loads(bundle: Bundle) -> None:
    def forget(manifest: dict[str, Any]) -> None:
        for record in manifest["precisions"].values():
            del record["fused"]
        del manifest["files"][FILE]

    change(bundle.path, forget)
    (bundle.path / FILE).unlink()
    old = Bundle.open(bundle.path)
    old.check()
    assert old.fused_graph("int8") is None
    assert Embedder(old.path).encode("the cat").shape == (64,)


def test_a_cut_bundle_has_it_if_it_has_int8(bundle: Bundle, tmp_path: Path) -> None:
    int8, fp32 = (copy_bundle(bundle, tmp_path / name, precisions=[name]) for name in ("int8", "fp32"))
    assert int8.fused_graph("int8") == int8.path / FILE
    assert (int8.path / FILE).read_bytes() == (bundle.path / FILE).read_bytes()
    assert onnx_files(fp32) == {"model.onnx", "model.onnx_data"}
    assert FILE not in fp32.manifest.files


def test_it_goes_to_the_hub_and_comes_back(bundle: Bundle) -> None:
    name = "someone/new"
    with loopback_hub.running() as hub:
        assert run(hub, "push", str(bundle.path), name, HF_TOKEN=WRITER).returncode == 0
        assert run(hub, "pull", name, HF_TOKEN=READER).returncode == 0
    pulled = Bundle.open(cached_path(name))
    assert pulled.manifest.precisions.keys() == {"int8"}
    assert (pulled.path / FILE).read_bytes() == (bundle.path / FILE).read_bytes()
    pulled.check()


def test_the_manifest_keeps_its_format(exported: Bundle) -> None:
    """A reader that does not know the member runs the plain graph, which is right without it."""
    text = (exported.path / "embedge.json").read_text(encoding="utf-8")
    assert json.loads(text)["format_version"] == 1
    assert Manifest.from_json(text) == exported.manifest
