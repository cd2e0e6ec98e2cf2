"""exporter.py: the exporter that the runtime loads, and the errors where there is none that works."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

import embedge
import embedge_export.exporter
from embedge import Bundle, BundleNotFoundError, Embedder, HubError, MissingExtraError
from embedge.hub import obtain
from embedge.hub.exporter import Exporter, load_exporter

# mypy checks that the module has the functions of the protocol.
OURS: Exporter = embedge_export.exporter


def registers(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    """As if installed packages had these entry points, name and value, and no others."""

    def entry_points(*, group: str) -> EntryPoints:
        return EntryPoints(EntryPoint(name, value, group) for name, value in points)

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


def test_the_installed_exporter_is_embedges_own() -> None:
    assert load_exporter() is OURS


def test_of_several_exporters_embedges_own_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    registers(monkeypatch, ("another", "json"), ("embedge", "embedge_export.exporter"), ("zebra", "csv"))
    assert load_exporter() is OURS


def test_of_several_others_the_first_by_name_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    registers(monkeypatch, ("zebra", "embedge_export.exporter"), ("another", "embedge.hub.obtain"))
    assert vars(load_exporter()) is vars(obtain)  # any module will do


def test_an_exporter_that_lacks_a_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    registers(monkeypatch, ("embedge", "nosuch_package.exporter"))
    with pytest.raises(MissingExtraError, match=r"^nosuch_package is not installed; run `pip install 'embedge\[export"):
        load_exporter()
    with pytest.raises(BundleNotFoundError, match=r"\(nosuch_package is not installed\); .*\(1\).*\(2\).*\(3\)"):
        Embedder("bge-small-en-v1.5")


def test_a_failure_inside_an_exporter_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A library that cannot be loaded is no missing extra."""
    (tmp_path / "broken_exporter.py").write_text("raise ImportError('libnosuch.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    registers(monkeypatch, ("embedge", "broken_exporter"))
    with pytest.raises(ImportError, match=r"libnosuch\.so"):
        Embedder("bge-small-en-v1.5")


def test_a_source_tree_that_pip_has_not_installed_says_so(tmp_path: Path) -> None:
    """-S leaves site-packages out, and with them embedge's metadata; the packages that it needs come by path."""
    paths = [str(Path(embedge.__file__).parents[1]), *(path for path in sys.path if path.endswith("site-packages"))]
    code = (
        f"import sys, importlib.metadata as m; sys.path += {paths!r}; m.entry_points = lambda **group: ()\n"
        "from embedge import Embedder; Embedder('bge-small-en-v1.5')"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("embedge.errors.BundleNotFoundError: no bundle of 'bge-small-en-v1.5' in ")
    assert "no exporter is registered" in last


class Recorder:
    """An exporter that records what it is asked for."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.asked: list[dict[str, Any]] = []

    def knows(self, name: str) -> bool:
        return False

    def export(self, name: str, **options: Any) -> Bundle:
        self.asked.append({"name": name, **options})
        return self.bundle

    def compare(self, bundle: Bundle, *, checkpoint: str | None, optimum: bool = False) -> Sequence[Any]:
        return ()

    def compare_fused(self, bundle: Bundle) -> None:
        return None


def test_an_exporter_is_told_what_the_hub_said(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    recorder, failure = Recorder(tiny_bundle), HubError("the hub is down")

    def find_snapshot(hub_id: str, revision: str | None) -> None:
        raise failure

    monkeypatch.setattr(obtain, "find_snapshot", find_snapshot)
    monkeypatch.setattr(obtain, "load_exporter", lambda: recorder)
    Embedder("someone/tiny", precision="int8")
    Embedder("tiny-name", local_files_only=True)
    assert [(one["hub_failure"], one["local_files_only"]) for one in recorder.asked] == [(failure, False), (None, True)]
    assert [one["precisions"] for one in recorder.asked] == [("int8",), ("int8",)]


@pytest.mark.usefixtures("export")
def test_a_hub_that_failed_is_asked_for_no_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_snapshot(hub_id: str, revision: str | None) -> None:
        raise AssertionError("the hub was asked again")

    monkeypatch.setattr("embedge_export.checkpoint.hub_files.find_snapshot", find_snapshot)
    with pytest.raises(embedge.CheckpointError, match="^the hub is down; "):
        embedge_export.export("someone/nosuch", hub_failure=HubError("the hub is down"))
