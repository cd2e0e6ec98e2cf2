"""Bundles from the hub into the cache, by `embedge pull` and by a class that loads one by its name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import loopback_hub
from embedge import Bundle, Embedder
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.copy import copy_bundle
from hub_commands import NAME, command, environment, one_error, run
from loopback_hub import READER, Hub

EMBED = "import sys; from embedge import Embedder; print(Embedder(sys.argv[1]).encode('the cat').shape)"


def test_pull_downloads_int8_once_and_says_where_and_how_big(hub: Hub, tiny_bundle: Bundle) -> None:
    done = run(hub, "pull", NAME)
    assert done.returncode == 0, done.stderr
    bundle = Bundle.open(cached_path(NAME))
    bundle.check()
    files = [path for path in bundle.path.rglob("*") if not path.is_dir()]
    assert {path.relative_to(bundle.path).as_posix() for path in files} == {
        name
        for name in (*tiny_bundle.manifest.files, "embedge.json", ".commit")
        if not name.startswith("onnx/model.onnx")
    }
    assert not any(path.is_symlink() for path in files)
    size = sum(path.stat().st_size for path in files if path.name not in ("embedge.json", ".commit"))
    assert done.stdout == f"{bundle.path}: int8, {len(files) - 1} files, {size / 1e6:.1f} MB\n"
    before = len(hub.requests)
    assert run(hub, "pull", NAME).stdout == done.stdout
    assert run(None, "pull", NAME).stdout == done.stdout
    assert len(hub.requests) == before


def test_what_huggingface_hub_asks_for_of_its_own_accord_is_answered(hub: Hub, tmp_path: Path) -> None:
    """As the hub answers it: the client keeps what it gets, and does not ask again."""
    from huggingface_hub import constants

    if not hasattr(constants, "AGENT_HARNESSES_PATH"):
        pytest.skip("huggingface_hub asks for nothing of its own accord before 2.0")
    for precision in ("int8", "fp32"):
        assert run(hub, "pull", NAME, "--precision", precision).returncode == 0
    assert hub.registry_requests == 1
    assert json.loads((tmp_path / "hf" / Path(constants.AGENT_HARNESSES_PATH).name).read_text())["harnesses"]


def test_the_demo_takes_a_bundle_from_the_hub(hub: Hub) -> None:
    done = run(hub, "demo", "-m", NAME, "a cat")
    assert done.returncode == 0, done.stderr
    assert Bundle.open(cached_path(NAME)).manifest.precisions.keys() == {"int8"}


def test_the_vectors_are_those_of_what_was_pushed(hub: Hub, tiny_bundle: Bundle) -> None:
    assert run(hub, "pull", NAME, "--precision", "fp32", "--precision", "int8").returncode == 0
    for precision in ("int8", "fp32"):
        pulled = Embedder(NAME, precision=precision, local_files_only=True)
        expected = Embedder(tiny_bundle.path, precision=precision).encode("the cat")
        assert pulled.encode("the cat").tobytes() == expected.tobytes()


def test_another_precision_is_added_without_the_files_that_are_there(hub: Hub) -> None:
    run(hub, "pull", NAME)
    with pytest.raises(Exception, match=f"holds int8, not fp32; run `embedge pull {NAME} --precision fp32` to get it"):
        Embedder(NAME, precision="fp32", local_files_only=True)
    hub.requests.clear()
    assert "int8 + fp32" in run(hub, "pull", NAME, "--precision", "fp32").stdout
    commit = loopback_hub.commit_of(hub.repositories[NAME].files)
    assert [path for method, path in hub.requests if "/resolve/" in path and "onnx" not in path] == [
        f"/{NAME}/resolve/{commit}/{name}" for name in ("embedge.json", "config.json")
    ]
    assert hub.count("GET", "model_int8") == 0
    Bundle.open(cached_path(NAME)).check()


def test_embedder_downloads_on_first_use_and_never_asks_again(hub: Hub) -> None:
    for place in (hub, hub, None):
        done = subprocess.run(
            [sys.executable, "-c", EMBED, NAME], capture_output=True, text=True, env=environment(place), check=False
        )
        assert done.stdout == "(32,)\n", done.stderr
    assert hub.count("GET", "/api/models/") == 1


def test_the_command_tells_of_a_first_download(hub: Hub) -> None:
    done = run(hub, "embed", "-m", NAME, "cat")
    assert done.stderr.startswith(f"download   {NAME}@")


def test_local_files_only_never_asks(hub: Hub) -> None:
    def fault(handler: loopback_hub.Handler) -> bool:
        raise AssertionError(handler.path)

    hub.fault = fault
    assert "no bundle of" in one_error(run(hub, "embed", "-m", NAME, "--local-files-only", "cat"))
    assert "HF_HUB_OFFLINE" in one_error(run(hub, "pull", NAME, HF_HUB_OFFLINE="1"))
    assert hub.requests == []


def test_a_mirror_that_only_names_files(hub: Hub) -> None:
    """The manifest has their sizes and hashes."""
    hub.is_terse = True
    assert run(hub, "pull", NAME).returncode == 0
    Bundle.open(cached_path(NAME)).check()


def test_a_private_repository_needs_the_token(hub: Hub) -> None:
    hub.repositories[NAME].private = True
    assert f"the hub has no {NAME}, or it is private (then set HF_TOKEN)" in one_error(run(hub, "pull", NAME))
    assert run(hub, "pull", NAME, HF_TOKEN=READER).returncode == 0
    assert hub.tokens == {"", READER}


def test_two_processes_at_once_download_once(hub: Hub) -> None:
    started = [
        subprocess.Popen(command("pull", NAME), env=environment(hub), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert hub.count("GET", "tokenizer.json") == 1
    Bundle.open(cached_path(NAME)).check()


BARE = """
import sys
sys.modules["onnx"] = None  # as without the export extra
from embedge import Embedder
print(Embedder(sys.argv[1]).encode("the cat").shape)
"""


def test_the_runtime_alone_downloads_a_bundle_and_says_what_the_hub_said_of_others(hub: Hub) -> None:
    def embed(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", BARE, name], capture_output=True, text=True, env=environment(hub), check=False
        )

    assert embed(NAME).stdout == "(32,)\n"
    last = embed("someone/else").stderr.splitlines()[-1]
    assert "the hub has no someone/else, or it is private (then set HF_TOKEN)" in last
    assert all(way in last for way in ("(1) run `pip install", "(2) run `embedge export someone/else`", "(3) copy"))


def test_a_bar_is_shown_to_who_looks(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("embedge.progress.is_terminal", lambda stream: True)
    monkeypatch.setattr("embedge.progress._DELAY", 0)
    copy_bundle(tiny_bundle, tmp_path / "copy")
    size = sum(record.size for record in tiny_bundle.manifest.files.values())
    assert f"100%|██████████| {size / 1000:.0f}k/{size / 1000:.0f}k" in capsys.readouterr().err


def test_a_precision_that_the_hub_lacks(hub: Hub) -> None:
    assert f"{NAME} on the hub holds int8, fp32, not fp16; " in one_error(run(hub, "pull", NAME, "--precision", "fp16"))


def test_pull_of_a_path_checks_it(tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert run(None, "pull", str(tiny_bundle.path)).stdout.startswith(f"{tiny_bundle.path}: int8 + fp32, ")
    folder = shutil.copytree(tiny_bundle.path, tmp_path / "tiny")
    (folder / "config.json").write_text("{}")
    assert "config.json has 2 bytes" in one_error(run(None, "pull", str(folder)))
