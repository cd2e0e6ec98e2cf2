"""`embedge push`: what arrives at a hub, and what is refused before or after."""

import re
import shutil
from pathlib import Path

import pytest

import loopback_hub
from embedge import Bundle
from embedge.bundle.cache_paths import cached_path
from hub_commands import NAME, one_error, run
from loopback_hub import READER, WRITER, Hub, fails, is_silent


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


def test_push_and_pull_again(hub: Hub, tiny_bundle: Bundle) -> None:
    """What comes back is what was pushed, bitwise; a second push changes nothing."""
    name = "someone/new"
    done = run(hub, "push", str(tiny_bundle.path), name, "--private", "-m", "first", HF_TOKEN=WRITER)
    assert done.returncode == 0, done.stderr
    repository = hub.repositories[name]
    assert (repository.private, repository.messages) == (True, ["first"])
    assert set(repository.files) == {*tiny_bundle.manifest.files, "embedge.json", "README.md"}
    assert b'pipeline("feature-extraction", "someone/new")' in repository.files["README.md"]
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


def test_a_card_has_lines_for_javascript_only_if_they_work(hub: Hub) -> None:
    old = Path(__file__).parents[2] / "golden" / "format-1" / "release-0.1.0"
    assert run(hub, "push", str(old), "someone/old", HF_TOKEN=WRITER).returncode == 0
    assert b"transformers.js" not in hub.repositories["someone/old"].files["README.md"]


def test_push_to_a_branch(hub: Hub, tiny_bundle: Bundle) -> None:
    name = "someone/new"
    assert run(hub, "push", str(tiny_bundle.path), name, "--revision", "v2", HF_TOKEN=WRITER).returncode == 0
    assert hub.repositories[name].files == {}
    assert "embedge.json" in hub.repositories[name].branches["v2"]


@pytest.mark.parametrize(
    ("token", "message"),
    [("", "does not accept the token for"), (READER, "has no access to .*You need a token that may write")],
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


def test_push_as_private_to_what_is_public_is_refused(hub: Hub, tiny_bundle: Bundle) -> None:
    done = run(hub, "push", str(tiny_bundle.path), NAME, "--private", HF_TOKEN=WRITER)
    assert f"{NAME} exists and is public" in one_error(done)


@pytest.mark.parametrize("fault", [None, is_silent("/api/"), fails(500, "/api/"), fails(400, "/lfs/")])
def test_push_to_a_hub_that_fails(hub: Hub, tiny_bundle: Bundle, fault: loopback_hub.Fault | None) -> None:
    hub.fault = fault
    place = hub if fault else None
    assert "someone/new" in one_error(run(place, "push", str(tiny_bundle.path), "someone/new", HF_TOKEN=WRITER))
