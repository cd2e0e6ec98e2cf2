"""What a hub holds that is no whole bundle, and names that are no hub ids."""

import json

import pytest

from embedge import Bundle, Embedder
from embedge.bundle.cache_paths import cached_path
from hub_commands import NAME, one_error, run
from loopback_hub import Hub
from manifests import sealed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "has format 2, newer than 1; run `pip install -U embedge` to read it"),
        ({"files": {"../evil": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, '../evil'"),
        ({"files": {"/evil": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, '/evil'"),
        ({"files": {"": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, ''"),
        ({"files": {"embedge.json": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, 'embedge.json'"),
        ({"files": {}}, "uses tokenizer.json but has no hash of it"),
        ({"dimension": 0}, "dimension must be between"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_one_error_and_leaves_nothing(
    hub: Hub, changes: dict[str, object], message: str
) -> None:
    files = hub.repositories[NAME].files
    files["embedge.json"] = sealed({**json.loads(files["embedge.json"]), **changes}).encode()
    assert message in one_error(run(hub, "pull", NAME))


def test_a_file_that_the_manifest_names_and_the_hub_lacks_is_one_error(hub: Hub) -> None:
    files = hub.repositories[NAME].files
    manifest = json.loads(files["embedge.json"])
    manifest["files"]["more.bin"] = {"size": 1, "sha256": "0"}
    files["embedge.json"] = sealed(manifest).encode()
    assert "lacks more.bin, which its embedge.json names" in one_error(run(hub, "pull", NAME))


def test_a_precision_that_shares_files_with_others_goes_without_them(hub: Hub) -> None:
    """Here one that says that its graph is the tokenizer, and its weights those of the one that is asked for."""
    files = hub.repositories[NAME].files
    manifest = json.loads(files["embedge.json"])
    manifest["precisions"]["fp32"]["file"] = "tokenizer.json"
    manifest["precisions"]["fp16"] = {**manifest["precisions"]["fp32"], "file": "onnx/model_int8.onnx_data"}
    files["embedge.json"] = sealed(manifest).encode()
    assert run(hub, "pull", NAME).returncode == 0
    Bundle.open(cached_path(NAME)).check()
    assert Embedder(NAME, local_files_only=True).encode("the cat").shape == (32,)


def test_a_graph_whose_weights_the_manifest_leaves_out_is_not_pulled(hub: Hub) -> None:
    """Whether the hub has them or not: what is recorded is all that comes, and would not load."""
    files = hub.repositories[NAME].files
    manifest = json.loads(files["embedge.json"])
    del manifest["files"]["onnx/model_int8.onnx_data"]
    files["embedge.json"] = sealed(manifest).encode()
    error = one_error(run(hub, "pull", NAME))
    assert "is damaged: " in error
    assert "onnx/model_int8.onnx needs the file onnx/model_int8.onnx_data, which " in error


@pytest.mark.parametrize("name", ["a/b--c", "a/b..c", "a/b.git", "-a/b", "a/" + "b" * 150, "東/京", "a/-b-"])
def test_an_odd_hub_id_is_one_of_our_errors(hub: Hub, tiny_bundle: Bundle, name: str) -> None:
    one_error(run(hub, "pull", "--", name))
    one_error(run(hub, "pull", "--revision", "main", "--", name))
    one_error(run(hub, "push", "--", str(tiny_bundle.path), name))


def test_a_manifest_that_is_none(hub: Hub) -> None:
    for content, message in (
        (b"[", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b" " * (1 << 25), "is over 16777216 bytes"),
    ):
        hub.repositories[NAME].files["embedge.json"] = content
        assert message in one_error(run(hub, "pull", NAME))
