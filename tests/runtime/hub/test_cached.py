"""A cached bundle that is damaged, lacks a file or has another name: what repairs it, and the messages."""

import json
import re
import shutil
from pathlib import Path

import pytest

from embedge import Bundle, BundleCorruptError, Embedder
from embedge.bundle.cache_paths import cached_path
from hub_commands import NAME, run
from loopback_hub import Hub
from manifests import change, sealed


def test_a_damaged_file_is_brought_again(hub: Hub) -> None:
    run(hub, "pull", NAME)
    damaged = cached_path(NAME) / "tokenizer.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + b"?")
    hub.requests.clear()
    assert run(hub, "pull", NAME).returncode == 0
    assert damaged.read_bytes() == whole
    assert hub.count("GET", "/resolve/") == 3  # the manifest, that file, and config.json, which is cut again


def test_the_error_about_a_damaged_file_in_another_cache_says_which(hub: Hub, tmp_path: Path) -> None:
    run(hub, "pull", NAME, EMBEDGE_HOME=str(tmp_path / "other"))
    bundle = Bundle.open(cached_path(NAME, tmp_path / "other"))
    (bundle.path / "tokenizer.json").write_bytes(b"")
    with pytest.raises(BundleCorruptError) as seen:
        bundle.check()
    found = re.search("run `env EMBEDGE_HOME=(.*) embedge (.*)` to download it again$", str(seen.value))
    assert found
    assert run(hub, *found[2].split(), EMBEDGE_HOME=found[1]).returncode == 0
    bundle.check()


def test_a_manifest_in_the_cache_that_cannot_be_read_is_a_way_on(hub: Hub) -> None:
    run(hub, "pull", NAME)
    (cached_path(NAME) / "embedge.json").write_text("{")
    for words in (["pull", NAME], ["embed", "-m", NAME, "a text"]):
        assert f"delete {cached_path(NAME)} and run `embedge pull {NAME}`" in run(hub, *words).stderr
    (cached_path(NAME) / "embedge.json").unlink()
    assert "delete it" in run(hub, "pull", NAME).stderr


@pytest.mark.parametrize("name", ["tokenizer.json", "onnx/model_int8.onnx"])
def test_the_error_about_a_damaged_file_of_a_pulled_bundle_says_to_pull_it(hub: Hub, name: str) -> None:
    run(hub, "pull", NAME)
    damaged = cached_path(NAME) / name
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    for model in (NAME, cached_path(NAME)):
        with pytest.raises(BundleCorruptError, match=f"; run `embedge pull {NAME}` to download it again$"):
            Embedder(model, local_files_only=True)
    assert run(hub, "pull", NAME).returncode == 0
    assert damaged.read_bytes() == whole


@pytest.mark.parametrize("kept", ["in the cache, exported", "elsewhere"])
def test_the_error_about_a_damaged_file_of_another_bundle_says_to_export_it(
    tiny_bundle: Bundle, tmp_path: Path, kept: str
) -> None:
    """A checkpoint's bundle, by its hub id in the cache; or one of a repository, copied out of it."""
    exported = kept != "elsewhere"
    folder = cached_path(NAME) if exported else tmp_path / cached_path(NAME).name
    shutil.copytree(tiny_bundle.path, folder)
    manifest = json.loads((folder / "embedge.json").read_text())
    manifest["source"]["hub_id"] = NAME if exported else None
    (folder / "embedge.json").write_text(sealed(manifest))
    (folder / "tokenizer.json").unlink()
    wanted = f"copy the bundle again, or run `embedge export {NAME if exported else 'CHECKPOINT'} -o {folder} "
    with pytest.raises(BundleCorruptError, match=re.escape(wanted)):
        Embedder(folder)


@pytest.mark.parametrize(
    ("lost", "how"),
    [
        ("tokenizer.json", "gone"),
        ("1_Pooling/config.json", "gone"),
        ("onnx/model_int8.onnx_data", "gone from the manifest, too"),
        ("tokenizer.json", "gone from the manifest, too"),
        ("onnx/model_int8.onnx", "a directory"),
        ("1_Pooling/config.json", "a directory"),
    ],
)
def test_a_cached_bundle_that_lacks_a_file_gets_it(hub: Hub, tiny_bundle: Bundle, lost: str, how: str) -> None:
    run(hub, "pull", NAME)
    (cached_path(NAME) / lost).unlink()
    if how == "a directory":
        (cached_path(NAME) / lost / "in it").mkdir(parents=True)
    elif how != "gone":
        change(cached_path(NAME), lambda manifest: manifest["files"].pop(lost))
    done = run(hub, "pull", NAME, "--revision", "main")
    assert done.returncode == 0, done.stderr
    bundle = Bundle.open(cached_path(NAME))
    assert bundle.is_whole()
    assert (bundle.path / lost).read_bytes() == (tiny_bundle.path / lost).read_bytes()


def test_a_file_that_no_manifest_recorded_gives_way(hub: Hub, tiny_bundle: Bundle) -> None:
    run(hub, "pull", NAME)
    change(cached_path(NAME), lambda manifest: manifest["files"].pop("tokenizer.json"))
    (cached_path(NAME) / "tokenizer.json").write_text("mine")
    assert run(hub, "pull", NAME).returncode == 0
    assert Bundle.open(cached_path(NAME)).is_whole()


def test_a_bundle_does_not_answer_to_a_hub_id_that_it_claims(hub: Hub, tiny_bundle: Bundle) -> None:
    files = hub.repositories[NAME].files
    manifest = json.loads(files["embedge.json"])
    manifest["source"]["hub_id"] = "someone/else"
    files["embedge.json"] = sealed(manifest).encode()
    assert run(hub, "pull", NAME).returncode == 0
    done = run(hub, "embed", "-m", "someone/else", "cat")
    assert "the hub has no someone/else" in done.stderr
    assert f"\n{NAME} " in run(None, "models").stdout  # by the name that loads it
