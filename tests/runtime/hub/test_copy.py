"""`embedge bundle`: copies of a bundle, whole or not made at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle, BundleCorruptError, BundleError, Embedder
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.copy import copy_bundle
from hub_commands import NAME, one_error, run
from loopback_hub import WRITER, Hub
from manifests import change, sealed


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
    with pytest.raises(BundleCorruptError, match=r"the copy of .* is damaged: .*config.json has 0 bytes, not the"):
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

    monkeypatch.setattr("embedge.bundle.staging.flush_folder", full)
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
    place, message = tmp_path / "there", "exists and is not a bundle"
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
        place, message = source, "is the bundle's directory"
    else:
        (source / "config.json").write_text("{}")
        message = "config.json has 2 bytes"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert message in one_error(run(None, "bundle", str(source), "-o", str(place)))
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
