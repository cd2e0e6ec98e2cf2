"""resolve.py: what a model's name means, and what the log says until its bundle is there."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from commands import runner
from embedge import Bundle, BundleError, BundleNotFoundError, Embedder, InputTypeError, PrecisionNotFoundError
from embedge.bundle.cache_paths import cache_home, cached_path
from embedge.command.main import cli
from embedge.hub.cache import cached_bundles, open_local
from embedge.progress import log_step


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> list[dict[str, Any]]:
    """An exporter that takes no time, and what it was asked for."""
    asked = []

    def export(name: str, **options: Any) -> Bundle:
        asked.append({"name": name, **options})
        log_step("checkpoint tiny (0.1 s)")
        log_step("bundle     100 % of it")
        return tiny_bundle

    monkeypatch.setattr("embedge_export.exporter.export", export)
    return asked


def test_a_first_export_is_logged(exporter: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "embedge"):
        Embedder("someone/tiny")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "checkpoint tiny (0.1 s)",
        "bundle     100 % of it",
    ]


def test_the_command_shows_a_first_export(exporter: list[dict[str, Any]]) -> None:
    """The steps are on stderr. --local-files-only reaches the exporter."""
    done = runner().invoke(cli, ["embed", "-m", "someone/tiny", "--local-files-only", "cat"])
    assert done.exit_code == 0
    assert done.stderr.startswith("checkpoint tiny (0.1 s)\n")
    assert exporter[0]["local_files_only"] is True
    assert logging.getLogger("embedge").handlers == []


def test_a_directory_means_itself_with_a_dot_in_front_and_without(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_checkpoint.parent)
    for name in ("tiny", "./tiny"):
        with pytest.raises(BundleNotFoundError, match="^tiny holds a checkpoint, not a bundle"):
            Embedder(name)


def test_a_recipes_name_is_the_recipes_wherever_it_is_said(
    exporter: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bge-small-en-v1.5").mkdir()
    monkeypatch.chdir(tmp_path)
    Embedder("bge-small-en-v1.5")
    assert exporter[0]["name"] == "bge-small-en-v1.5"


@pytest.mark.parametrize("model", [None, 3, b"tiny"])
def test_what_is_neither_name_nor_path_is_refused(model: Any) -> None:
    with pytest.raises(InputTypeError, match="model must be a name or a path, found"):
        Embedder(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", "name or a path, found an empty string"),
        ("x" * 300, "name or a path, found a name of 300 characters"),
        ("./" + "x" * 300, "cannot be read|no such directory"),
    ],
)
def test_no_model_has_such_a_name(model: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Embedder(model)


@pytest.mark.usefixtures("export")
def test_where_the_exporter_is_there_nobody_is_told_to_install_it() -> None:
    with pytest.raises(BundleNotFoundError, match="and it cannot be exported: .*did you mean") as seen:
        Embedder("bge-smal-en-v1.5")
    assert "pip install" not in str(seen.value)


def test_a_suggested_command_can_be_typed_as_it_is(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "my bundle"))
    with pytest.raises(PrecisionNotFoundError, match=r"-o '/.*/my bundle' --precision fp16`"):
        Embedder(folder, precision="fp16")
    (folder / "embedge.json").unlink()
    with pytest.raises(BundleNotFoundError, match=r"run `embedge export '/.*/my bundle' -o BUNDLE`"):
        Embedder(folder)


@pytest.mark.parametrize("command", ["info", "models"])
@pytest.mark.parametrize("locked", ["", "bundles", "bundles/tiny", "bundles/tiny/embedge.json"])
def test_a_cache_that_may_not_be_read_breaks_no_command(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, command: str, locked: str
) -> None:
    """Not by its mode: root may read everything."""
    shutil.copytree(tiny_bundle.path, cached_path("tiny"))
    assert len(cached_bundles()) == 1
    forbid(monkeypatch, cache_home() / locked)
    done = runner().invoke(cli, [command])
    assert done.exit_code == 0, done.output
    assert cached_bundles() == []
    assert command == "models" or ("cannot be read" in done.output) == (locked in ("", "bundles"))


def forbid(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Let everything in a folder, or a file, fail as without permission."""

    def guard(name: str) -> None:
        real = getattr(os, name)

        def guarded(path: Any, *rest: Any, **options: Any) -> Any:
            inside = isinstance(path, str | Path) and Path(path).is_relative_to(place)
            if inside and (Path(path) != place or name != "stat"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *rest, **options)

        monkeypatch.setattr(os, name, guarded)

    for name in ("stat", "scandir", "listdir", "open"):
        guard(name)
    real_open = Path.open

    def opened(path: Path, *rest: Any, **options: Any) -> Any:
        if path.is_relative_to(place):
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *rest, **options)

    monkeypatch.setattr(Path, "open", opened)


def test_a_directory_that_is_no_bundle_is_told_from_a_name(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_checkpoint.parent)
    with pytest.raises(BundleNotFoundError, match="holds a checkpoint, not a bundle"):
        open_local(tiny_checkpoint.name)
