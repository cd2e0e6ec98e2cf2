"""Revisions of a bundle on the hub: which commit the cache holds, and what takes its place."""

import json
import shutil
from pathlib import Path

import pytest

import loopback_hub
from embedge import Bundle
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.commit import read_commit, write_commit
from embedge.bundle.staging import staging
from hub_commands import NAME, one_error, run
from loopback_hub import Hub, cuts
from manifests import sealed


@pytest.mark.parametrize("revision", ["../..", "a b", "a?b#c%", "\x1b[31m", "東", "x" * 5000, "a\nb", "\udcff"])
def test_an_odd_revision_is_one_of_our_errors(hub: Hub, revision: str) -> None:
    error = one_error(run(hub, "pull", NAME, "--revision", revision))
    assert error.isprintable()


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
    """Whether the cache holds a revision's bundle and nothing else, each file compared to the hub's.

    config.json names the graphs that are there.
    """
    bundle = Bundle.open(cached_path(NAME))
    names = {path.relative_to(bundle.path).as_posix() for path in bundle.path.rglob("*") if path.is_file()}
    assert names == {*bundle.manifest.files, "embedge.json", ".commit"}
    assert (bundle.path / ".commit").read_text() == f"{loopback_hub.commit_of(files)}\n"
    config = json.loads(files["config.json"])
    graphs = {"int8": "model_int8.onnx", "fp32": "model.onnx"}
    weights = {graphs[name]: 1 for name in bundle.manifest.precisions}
    config["transformers.js_config"] = {"dtype": "int8", "use_external_data_format": weights}
    assert json.loads((bundle.path / "config.json").read_text()) == config
    others = bundle.manifest.files.keys() - {"config.json"}
    return all((bundle.path / name).read_bytes() == files[name] for name in others)


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
    assert sorted(downloaded) == ["config.json", "embedge.json", "model_int8.onnx", "tokenizer.json"]
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
    assert hub.count("GET", "/resolve/") == 2  # the manifest, and config.json, which an int8 bundle has otherwise


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
    message = f"the hub has no revision 'v9' of {NAME}; give an existing branch, tag or commit"
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
        ("bge-small-en-v1.5", "main", "revision needs a hub id (organisation/name), found a name, bge-small-en-v1.5"),
        ("./bundle", "main", "revision needs a hub id (organisation/name), found a path, ./bundle"),
        ("tests", "main", "revision needs a hub id"),
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
    with staging(bundle.path, extends=bundle):
        pass
    assert read_commit(bundle.path) is None
    bundle.check()
