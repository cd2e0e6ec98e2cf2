"""bundle.py: what a manifest may say, and what is noticed when a file has changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle, BundleCorruptError, BundleError, BundleNotFoundError, Embedder, PrecisionNotFoundError


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "embedge.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_bundle_is_relocatable(copy: Path) -> None:
    assert Embedder(copy).encode("the cat").shape == (32,)


def test_every_file_but_the_manifest_is_recorded(tiny_bundle: Bundle) -> None:
    files = {path.relative_to(tiny_bundle.path).as_posix() for path in tiny_bundle.path.rglob("*") if path.is_file()}
    assert files - {"embedge.json"} == set(tiny_bundle.manifest.files)


@pytest.mark.parametrize("name", ["onnx/model_int8.onnx", "tokenizer.json"])
def test_one_flipped_bit_is_noticed_at_load(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleCorruptError, match=f"{name} has changed"):
        Embedder(copy, precision="int8")


def test_a_file_cut_short_is_noticed(copy: Path) -> None:
    data = (copy / "onnx/model_int8.onnx").read_bytes()
    (copy / "onnx/model_int8.onnx").write_bytes(data[:-1])
    with pytest.raises(BundleCorruptError, match=f"has {len(data) - 1} bytes, not the {len(data)}"):
        Embedder(copy, precision="int8")


def test_a_missing_file_is_noticed(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(BundleCorruptError, match="cannot be read"):
        Embedder(copy)


def test_a_missing_precision_names_the_command_that_adds_it(copy: Path) -> None:
    with pytest.raises(
        PrecisionNotFoundError, match=r"holds fp32, int8, not fp16; `embedge export .* --precision fp16`"
    ):
        Embedder(copy, precision="fp16")


def test_an_unknown_precision_names_the_known_ones(copy: Path) -> None:
    with pytest.raises(PrecisionNotFoundError, match="one of int8, fp32, fp16, found 'int4'"):
        Embedder(copy, precision="int4")  # type: ignore[arg-type]


def test_a_checkpoint_is_no_bundle_and_the_command_is_named(tiny_checkpoint: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="holds a checkpoint, not a bundle.*embedge export"):
        Embedder(tiny_checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "has format 2, newer than 1; `pip install -U embedge`"),
        ({"dimension": "384"}, "dimension must be int, found '384'"),
        ({"dimension": True}, "dimension must be int, found True"),
        ({"pooling": "max"}, "pooling must be one of cls, mean, last, found 'max'"),
        ({"files": {"../../etc/passwd": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle"),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle"),
        ({"precisions": {"int8": {"file": "onnx/model_int8.onnx"}}}, "precisions.int8.exporter is missing"),
        ({"prompts": ["query"]}, "prompts must be an object"),
        ({"source": None}, "source must be an object"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(copy: Path, changes: dict[str, Any], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format_version": 1}', "\ufeffx"])
def test_what_is_no_manifest_is_refused(copy: Path, text: str) -> None:
    (copy / "embedge.json").write_text(text)
    with pytest.raises(BundleError):
        Bundle.open(copy)


def test_fields_of_later_embedges_are_left_out(copy: Path) -> None:
    edit(copy, colour="blue")
    assert Bundle.open(copy).manifest.dimension == 32


def test_a_graph_without_a_hash_is_refused(copy: Path) -> None:
    files = json.loads((copy / "embedge.json").read_text())["files"]
    del files["onnx/model_int8.onnx"]
    edit(copy, files=files)
    with pytest.raises(BundleCorruptError, match="records no hash"):
        Embedder(copy, precision="int8")
