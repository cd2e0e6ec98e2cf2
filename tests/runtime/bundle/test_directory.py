"""directory.py: what a manifest may say, and what is noticed when a file has changed."""

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import (
    Bundle,
    BundleCorruptError,
    BundleError,
    BundleNotFoundError,
    Embedder,
    InputValueError,
    PrecisionNotFoundError,
)
from manifests import change


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy"))


def edit(folder: Path, **changes: Any) -> None:
    change(folder, lambda manifest: manifest.update(changes))


def replace_graph(folder: Path, changing: Callable[[Any], object], *, name: str = "last_hidden_state") -> None:
    """Change the fp32 graph's output, and record the new hash."""
    onnx = pytest.importorskip("onnx", reason="needs onnx, which the extra `export` installs")
    model = onnx.load(folder / "onnx/model.onnx")
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [name if value == output.name else value for value in node.output]
    output.name = name
    changing(output)
    onnx.save(model, folder / "onnx/model.onnx")
    data = (folder / "onnx/model.onnx").read_bytes()
    record = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(folder, files={**json.loads((folder / "embedge.json").read_text())["files"], "onnx/model.onnx": record})


def test_a_bundle_is_relocatable(copy: Path) -> None:
    assert Embedder(copy).encode("the cat").shape == (32,)


def test_every_file_but_the_manifest_is_recorded(tiny_bundle: Bundle) -> None:
    files = {path.relative_to(tiny_bundle.path).as_posix() for path in tiny_bundle.path.rglob("*") if path.is_file()}
    assert files - {"embedge.json"} == set(tiny_bundle.manifest.files)


@pytest.mark.parametrize("name", ["onnx/model_int8.onnx", "onnx/model_int8.onnx_data", "tokenizer.json"])
def test_one_flipped_bit_is_noticed_at_load(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleCorruptError, match=f"{name} has changed"):
        Embedder(copy, precision="int8")


@pytest.mark.parametrize("name", ["onnx/model_int8.onnx", "onnx/model_int8.onnx_data", "tokenizer.json"])
def test_a_flipped_bit_is_noticed_where_the_manifest_has_no_crc32(copy: Path, name: str) -> None:
    """As none had at first: then SHA-256 tells."""
    files = json.loads((copy / "embedge.json").read_text())["files"]
    edit(copy, files={file: {"size": record["size"], "sha256": record["sha256"]} for file, record in files.items()})
    Embedder(copy, precision="int8")
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleCorruptError, match=f"{name} has changed .*SHA-256"):
        Embedder(copy, precision="int8")


def test_what_has_the_same_crc32_is_noticed_by_a_check(copy: Path) -> None:
    """A load looks for damage alone; ``check``, ``embedge verify`` and the hub's commands compare SHA-256s."""
    path = copy / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["vocab"] = dict(list(data["model"]["vocab"].items())[::-1])  # the same tokens, in another order
    changed = json.dumps(data).encode()
    files = json.loads((copy / "embedge.json").read_text())["files"]
    forged = {"size": len(changed), "crc32": f"{zlib.crc32(changed):08x}"}
    edit(copy, files=files | {"tokenizer.json": files["tokenizer.json"] | forged})
    path.write_bytes(changed)
    assert Embedder(copy).encode("the cat").shape == (32,)
    with pytest.raises(BundleCorruptError, match=r"tokenizer.json has changed since it was exported \(SHA-256"):
        Bundle.open(copy).check()


def test_a_wrong_crc32_is_found_by_a_check_and_not_by_a_load_alone(copy: Path) -> None:
    """Else ``embedge verify`` would pass a bundle that does not load, and nothing would mend it."""
    files = json.loads((copy / "embedge.json").read_text())["files"]
    edit(copy, files=files | {"tokenizer.json": files["tokenizer.json"] | {"crc32": "00000001"}})
    for check in (lambda: Embedder(copy), Bundle.open(copy).check):
        with pytest.raises(BundleCorruptError, match=r"tokenizer.json has changed since it was exported \(CRC-32"):
            check()
    assert not Bundle.open(copy).is_whole()


def test_weights_that_the_manifest_does_not_record_are_refused(copy: Path) -> None:
    files = json.loads((copy / "embedge.json").read_text())["files"]
    edit(copy, files={name: record for name, record in files.items() if name != "onnx/model_int8.onnx_data"})
    with pytest.raises(BundleCorruptError, match="uses onnx/model_int8.onnx_data but has no hash"):
        Embedder(copy, precision="int8")


def test_a_bundle_of_graphs_that_hold_their_weights_loads(copy: Path) -> None:
    """As exported before weights had a file of their own."""
    expected = Embedder(copy, precision="fp32").encode("the cat")
    replace_graph(copy, lambda output: None)
    (copy / "onnx/model.onnx_data").unlink()
    files = json.loads((copy / "embedge.json").read_text())["files"]
    edit(copy, files={name: record for name, record in files.items() if name != "onnx/model.onnx_data"})
    np.testing.assert_array_equal(Embedder(copy, precision="fp32").encode("the cat"), expected)


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
        PrecisionNotFoundError, match=r"holds int8, fp32, not fp16; run `embedge export .* --precision fp16` to get it"
    ):
        Embedder(copy, precision="fp16")


def test_an_unknown_precision_names_the_known_ones(copy: Path) -> None:
    with pytest.raises(InputValueError, match="precision must be one of int8, fp32, fp16, found 'int4'"):
        Embedder(copy, precision="int4")  # type: ignore[arg-type]


def test_a_checkpoint_is_no_bundle_and_the_command_is_named(tiny_checkpoint: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="holds a checkpoint, not a bundle.*embedge export"):
        Embedder(tiny_checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "has format 2, newer than 1; run `pip install -U embedge`"),
        ({"dimension": "384"}, "dimension must be int, found '384'"),
        ({"dimension": True}, "dimension must be int, found True"),
        ({"format_version": 0}, "format_version must be between 1 and 1, found 0"),
        ({"dimension": 0}, "dimension must be between 1 and 65536, found 0"),
        ({"dimension": 10**12}, "dimension must be between 1 and 65536, found 1000000000000"),
        ({"max_tokens": 0}, "max_tokens must be between 1 and 1048576, found 0"),
        ({"max_tokens": -5}, "max_tokens must be between 1 and 1048576, found -5"),
        ({"default_prompt": "passage"}, "default_prompt 'passage' is not a prompt \\(query\\)"),
        ({"pooling": "max"}, "pooling must be one of cls, mean, last, found 'max'"),
        ({"files": {"../../etc/passwd": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle"),
        ({"files": {"/etc/passwd": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle"),
        ({"precisions": {"int8": {"file": "onnx/model_int8.onnx"}}}, "precisions.int8.exporter is missing"),
        ({"precisions": {}}, "must name a graph of its own for each precision, found none"),
        ({"prompts": ["query"]}, "prompts must be an object"),
        ({"source": None}, "source must be an object"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(copy: Path, changes: dict[str, Any], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"format_version": 1}', "\ufeffx", "[" * 200_000])
def test_what_is_no_manifest_is_refused(copy: Path, text: str) -> None:
    (copy / "embedge.json").write_text(text)
    with pytest.raises(BundleError):
        Bundle.open(copy)


def test_a_graph_of_another_dimension_is_refused_at_load(copy: Path) -> None:
    edit(copy, dimension=31)
    with pytest.raises(BundleError, match="gives last_hidden_state of dimension 32, and the bundle says 31"):
        Embedder(copy)


def test_a_graph_that_leaves_its_dimension_open_is_refused_when_it_runs(copy: Path) -> None:
    replace_graph(copy, lambda output: output.type.tensor_type.shape.dim[2].__setattr__("dim_param", "width"))
    edit(copy, dimension=31)
    with pytest.raises(BundleError, match="gives last_hidden_state of dimension 32, and the bundle says 31"):
        Embedder(copy, precision="fp32").encode("the cat")


def test_a_graph_without_hidden_states_is_refused_at_load(copy: Path) -> None:
    replace_graph(copy, lambda output: None, name="pooled")
    with pytest.raises(BundleError, match="has no output last_hidden_state, found pooled"):
        Embedder(copy, precision="fp32")


def test_a_graph_that_fails_says_what_to_do_and_no_more(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The checkpoint has 64 positions; ONNX Runtime would log at length."""
    edit(copy, max_tokens=100)
    with pytest.raises(BundleError, match=r"model.onnx failed on 1 x 100 tokens .*export the bundle again"):
        Embedder(copy, precision="fp32").encode("cat " * 200, on_truncate="ignore")
    assert capfd.readouterr().err == ""


def test_fields_of_later_embedges_are_left_out(copy: Path) -> None:
    edit(copy, colour="blue")
    assert Bundle.open(copy).manifest.dimension == 32


def test_a_graph_without_a_hash_is_refused(copy: Path) -> None:
    files = json.loads((copy / "embedge.json").read_text())["files"]
    del files["onnx/model_int8.onnx"]
    edit(copy, files=files)
    with pytest.raises(BundleCorruptError, match="has no hash"):
        Embedder(copy, precision="int8")
