"""What `embedge ship` replaces: an earlier output of its own, and nothing that a user made or changed."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from embedge import EmbedgeError
from embedge.ship.record import RECORD, Record, check_free, sha256

HANDLER = "lambda_function.py"
RECORDED = Record(
    embedge="1",
    place="lambda",
    platform="linux-x86_64",
    python="3.13",
    model="m",
    precision="int8",
    packages={},
    bytecode=True,
    entries=(HANDLER, "numpy"),
    texts={HANDLER: sha256(b"the handler")},
)
Write = Callable[[Path, dict[str, bytes]], Path]


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "out" / name).write_bytes(content)
    return folder / "out"


def write_zip(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "out.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "out.zip"


both = pytest.mark.parametrize("write", [write_folder, write_zip])
OWN = {RECORD: RECORDED.to_json().encode(), HANDLER: b"the handler", "numpy/x.py": b""}


@both
def test_an_output_of_its_own_is_free(tmp_path: Path, write: Write) -> None:
    check_free(write(tmp_path, OWN))
    check_free(
        write(tmp_path / "other", {**OWN, "numpy/new.py": b"deep inside"})
        if write is write_folder
        else tmp_path / "no.zip"
    )


@both
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"app.py": b"my own"}, "holds app.py, which `embedge ship` did not put there; delete it, or pass another -o"),
        ({HANDLER: b"my own"}, "holds lambda_function.py, which was changed since `embedge ship` wrote it"),
        ({RECORD: b"{}"}, "its embedge-ship.json cannot be read"),
        ({RECORD: b"\xff"}, "its embedge-ship.json cannot be read"),
    ],
)
def test_what_a_user_added_or_changed_is_kept(
    tmp_path: Path, write: Write, changes: dict[str, bytes], message: str
) -> None:
    with pytest.raises(EmbedgeError, match=message):
        check_free(write(tmp_path, {**OWN, **changes}))


@both
def test_what_others_made_is_kept(tmp_path: Path, write: Write) -> None:
    with pytest.raises(EmbedgeError, match="exists and `embedge ship` did not make it; delete it, or pass another -o"):
        check_free(write(tmp_path, {"photo.jpg": b"x"}))


def test_a_file_a_link_and_a_broken_zip_are_kept(tmp_path: Path) -> None:
    for name in ("out", "out.zip"):
        (tmp_path / name).write_bytes(b"text")
    with pytest.raises(EmbedgeError, match="out exists and is not a folder"):
        check_free(tmp_path / "out")
    with pytest.raises(EmbedgeError, match="out.zip exists and cannot be read"):
        check_free(tmp_path / "out.zip")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(EmbedgeError, match="link exists and is not a folder"):
        check_free(tmp_path / "link")
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "folder.zip" / "x").touch()
    with pytest.raises(EmbedgeError, match="folder.zip exists and is not a file"):
        check_free(tmp_path / "folder.zip")


@both
@pytest.mark.parametrize("packages", ["python", "package"])
def test_what_a_user_added_to_the_packages_is_kept(tmp_path: Path, write: Write, packages: str) -> None:
    """A layer's and an image's own modules go there."""
    record = replace(RECORDED, entries=(packages, f"{packages}/numpy"), texts={})
    own = {RECORD: record.to_json().encode(), f"{packages}/numpy/x.py": b""}
    check_free(write(tmp_path / "unchanged", own))
    with pytest.raises(EmbedgeError, match=f"holds {packages}/app.py, which `embedge ship` did not put there"):
        check_free(write(tmp_path / "changed", {**own, f"{packages}/app.py": b"my own"}))


@both
def test_bytecode_of_a_local_run_is_not_a_users(tmp_path: Path, write: Write) -> None:
    check_free(write(tmp_path, {**OWN, "__pycache__/lambda_function.cpython-313.pyc": b"x"}))


def test_nothing_and_an_empty_folder_are_free(tmp_path: Path) -> None:
    check_free(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_free(tmp_path / "empty")
    (tmp_path / "empty.zip").mkdir()
    with pytest.raises(EmbedgeError, match="empty.zip exists and is not a file"):
        check_free(tmp_path / "empty.zip")
