"""`embedge info`: ONNX Runtime's packages, CUDA and the cards."""

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import onnxruntime
import pytest

from commands import runner
from embedge import Bundle
from embedge.bundle.cache_paths import cached_path
from embedge.command import graphics_card
from embedge.command import info as info_command
from embedge.command.graphics_card import Card
from embedge.command.main import cli
from embedge.inference.device import onnxruntime_packages
from embedge.inference.device.onnxruntime_packages import Package
from fake_kernels import MODULE, add_fused, compile_library, install, remove_fused, write_package

H200 = Card("0", "NVIDIA H200", 143771, 143235, "580.65.06")
L4 = Card("1", "NVIDIA L4", 23034, 512, "580.65.06")


def rows() -> dict[str, str]:
    """The rows that the command prints, by their names."""
    done = runner().invoke(cli, ["info"])
    assert done.exit_code == 0, done.stderr
    parts = (line.strip().partition("  ") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in parts}


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    """The cards that the command finds; empty at first."""
    found: list[Card] = []
    monkeypatch.setattr(graphics_card, "find_cards", lambda: (tuple(found), "" if found else "none: no driver"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module in which an onnxruntime says what it was built for."""
    module = ModuleType("onnxruntime.capi.build_and_package_info")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_each_card_has_a_row(cards: list[Card]) -> None:
    cards += [H200, L4]
    shown = rows()
    assert shown["gpu 0"] == "NVIDIA H200, 143,771 MiB, 143,235 MiB free, driver 580.65.06"
    assert shown["gpu 1"].startswith("NVIDIA L4, 23,034 MiB")
    assert "gpu" not in shown


def test_why_there_is_no_card_is_said(cards: list[Card]) -> None:
    assert rows()["gpu"] == "none: no driver"


@pytest.mark.parametrize(("value", "shown"), [("1", "1"), ("", "empty: it hides every card")])
def test_the_variable_that_hides_cards_is_shown(
    cards: list[Card], monkeypatch: pytest.MonkeyPatch, value: str, shown: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert rows()["CUDA_VISIBLE_DEVICES"] == shown


def test_this_environments_onnxruntime_is_shown(cards: list[Card]) -> None:
    shown = rows()
    versions = [version for name, version in shown.items() if name.startswith("onnxruntime")]
    assert versions == [onnxruntime.__version__]
    assert shown["providers"] == ", ".join(onnxruntime.get_available_providers())
    assert "conflict" not in shown


def test_packages_that_share_files_are_shown_with_the_remedy(
    cards: list[Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = (Package("onnxruntime", "1.32.0", "pip"), Package("onnxruntime-gpu", "1.31.1", "pip"))
    monkeypatch.setattr(onnxruntime_packages, "installed_packages", lambda: both)
    shown = rows()
    assert (shown["onnxruntime"], shown["onnxruntime-gpu"]) == ("1.32.0", "1.31.1")
    assert "`pip uninstall -y onnxruntime onnxruntime-gpu`" in shown["conflict"]


@pytest.mark.parametrize("folder", [True, False], ids=["without files", "not installed"])
def test_an_onnxruntime_that_cannot_be_used_is_shown(
    cards: list[Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    """A bug report is needed most then."""
    if folder:
        (tmp_path / "onnxruntime").mkdir()
    site = [path for path in sys.path if not os.path.exists(os.path.join(path, "onnxruntime"))]  # noqa: PTH110, PTH118
    monkeypatch.setattr(sys, "path", [str(tmp_path), *site, str(Path(graphics_card.__file__).parents[2])])
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "embedge.inference.onnxruntime_import", raising=False)
    shown = rows()
    assert "run `pip install onnxruntime`" in shown["providers"]
    assert shown["onnxruntime"] == "not installed"


def test_the_cuda_of_the_build_is_shown(cards: list[Card], build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"nvidia-cublas": "13.1", "nvidia-cublas-cu12": "12.9", "nvidia-cudnn-cu12": "9.2"}
    monkeypatch.setattr(info_command, "_installed", lambda package: versions.get(package, "not installed"))
    build.cuda_version = "13.0"  # type: ignore[attr-defined]
    cards.append(H200)
    shown = rows()
    assert shown["cuda"] == "13.0 in this onnxruntime, nvidia-cublas 13.1, nvidia-cudnn-cu13 not installed by pip"
    assert "driver" not in shown
    build.cuda_version = "12.8"  # type: ignore[attr-defined]
    assert rows()["cuda"] == "12.8 in this onnxruntime, nvidia-cublas-cu12 12.9, nvidia-cudnn-cu12 9.2"


def test_a_driver_that_is_too_old_has_a_row(cards: list[Card], build: ModuleType) -> None:
    build.cuda_version = "13.0"  # type: ignore[attr-defined]
    cards.append(Card("0", "NVIDIA L4", 23034, 512, "570.124"))
    assert rows()["driver"].startswith("CUDA 13 needs driver 580 or later, found 570.124")


def test_a_build_for_the_cpu_has_no_cuda(cards: list[Card], build: ModuleType) -> None:
    assert "cuda" not in rows()


def test_the_kernels_that_are_not_installed_have_their_command(
    cards: list[Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    assert rows()["embedge-kernels"] == "not installed (`pip install 'embedge[fast]'`)"


def test_the_kernels_are_shown_with_their_instruction_sets(
    cards: list[Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = write_package(tmp_path)
    install(monkeypatch, tmp_path)
    compile_library(library)
    monkeypatch.setenv("EMBEDGE_KERNELS", "off")
    shown = rows()
    assert shown["embedge-kernels"] == "9.8.7, uses scalar (this processor can run avx2, scalar)"
    assert shown["EMBEDGE_KERNELS"] == "off"
    assert "EMBEDGE_KERNELS_ISA" not in shown


def test_kernels_that_cannot_be_used_are_shown_with_the_reason(
    cards: list[Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path)
    install(monkeypatch, tmp_path)
    shown = rows()["embedge-kernels"]
    assert shown.startswith("embedge-kernels 9.8.7 cannot be used (")
    assert "library.so" in shown


def test_an_instruction_set_that_is_not_there_is_shown(
    cards: list[Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = write_package(tmp_path)
    install(monkeypatch, tmp_path)
    compile_library(library)
    monkeypatch.setenv("EMBEDGE_KERNELS_ISA", "amx")
    shown = rows()
    assert "(EMBEDGE_KERNELS_ISA must be one of avx2, scalar, found 'amx')" in shown["embedge-kernels"]
    assert shown["EMBEDGE_KERNELS_ISA"] == "amx"


def test_a_bundle_with_a_graph_for_the_kernels_says_so(cards: list[Card], tiny_bundle: Bundle) -> None:
    for name in ("someone--plain", "someone--fused"):
        shutil.copytree(tiny_bundle.path, cached_path(name.replace("--", "/")))
    plain, fused = (cached_path(f"someone/{name}") for name in ("plain", "fused"))
    add_fused(fused)
    remove_fused(plain)
    shown = rows()
    assert shown["someone--plain"] == "fp32, int8"
    assert shown["someone--fused"] == "fp32, int8 (fused graph too)"
