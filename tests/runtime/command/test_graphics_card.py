"""What a stand-in for nvidia-smi makes of the cards: several, none, garbage, a failure, no answer."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge.command import graphics_card
from embedge.command.graphics_card import Card, find_cards, too_old
from embedge.inference.device.onnxruntime_packages import install_cuda

MakeTool = Callable[..., None]
WITH_CUDA_12 = f", or run {install_cuda('<1.27')}, which has CUDA 12"
TWO = "0, NVIDIA H200, 143771, 143235, 580.65.06\n1, NVIDIA L4, 23034, 512, 580.65.06\n"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTool:
    """Puts a program of this name first on the PATH; it prints a text, or is a script of the shell."""
    if os.name == "nt":
        pytest.skip("the stand-in is a script of the shell")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def make(output: bytes = b"", *, code: int = 0, script: str = "", interpreter: str = "/bin/sh") -> None:
        (tmp_path / "output").write_bytes(output)
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!{interpreter}\n{script}\ncat '{tmp_path / 'output'}'\nexit {code}\n")
        program.chmod(0o755)

    return make


def test_every_card_is_found(nvidia_smi: MakeTool) -> None:
    nvidia_smi(TWO.encode())
    cards, note = find_cards()
    assert cards == (
        Card("0", "NVIDIA H200", 143771, 143235, "580.65.06"),
        Card("1", "NVIDIA L4", 23034, 512, "580.65.06"),
    )
    assert note == ""
    assert str(cards[0]) == "NVIDIA H200, 143,771 MiB, 143,235 MiB free, driver 580.65.06"


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="nvidia-smi is not installed")
def test_the_real_program_is_understood() -> None:
    cards, note = find_cards()
    assert cards or note
    assert all(card.memory is None or 0 <= (card.free or 0) <= card.memory for card in cards)
    assert not note.startswith("nvidia-smi printed"), note


def test_the_question_names_the_fields_that_the_answer_has(nvidia_smi: MakeTool) -> None:
    """The stand-in prints its own arguments."""
    nvidia_smi(script='echo "$@"')
    query = "--query-gpu=index,name,memory.total,memory.free,driver_version --format=csv,noheader,nounits"
    assert find_cards() == ((), f"nvidia-smi printed: {query}")


def test_memory_that_a_card_does_not_have_is_unknown(nvidia_smi: MakeTool) -> None:
    """A board that shares the system's memory, such as a DGX Spark."""
    nvidia_smi(b"0, NVIDIA GB10, [N/A], [N/A], 580.95.05\n")
    cards, _ = find_cards()
    assert str(cards[0]) == "NVIDIA GB10, memory unknown, driver 580.95.05"


def test_a_warning_beside_the_cards_is_shown(nvidia_smi: MakeTool) -> None:
    warning = "WARNING: infoROM is corrupted at gpu 0000:01:00.0"
    nvidia_smi(f"{TWO}{warning}\n".encode())
    cards, note = find_cards()
    assert len(cards) == 2
    assert note == f"nvidia-smi printed: {warning}"


@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00garbage", b"<html>, a, b, c, d", b"0, NVIDIA", b"x" * 10_000])
def test_garbage_is_shown_and_not_read(nvidia_smi: MakeTool, garbage: bytes) -> None:
    nvidia_smi(garbage)
    cards, note = find_cards()
    assert cards == ()
    assert note.startswith(f"nvidia-smi printed: {garbage.decode(errors='replace')[:20]}")
    assert len(note) < 250


def test_no_card(nvidia_smi: MakeTool) -> None:
    nvidia_smi(b"\n")
    assert find_cards() == ((), "none: nvidia-smi lists no card")


@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_failure_is_told_in_its_words(nvidia_smi: MakeTool, stream: str) -> None:
    nvidia_smi(script=f"echo 'Failed to initialize NVML: Driver/library version mismatch' >&{stream}", code=18)
    message = "Failed to initialize NVML: Driver/library version mismatch"
    assert find_cards() == ((), f"nvidia-smi failed with exit code 18: {message}")


def test_a_failure_without_words(nvidia_smi: MakeTool) -> None:
    nvidia_smi(code=9)
    assert find_cards()[1] == "nvidia-smi failed with exit code 9: it printed nothing"


@pytest.mark.parametrize("script", ["exec sleep 5", "sleep 5"], ids=["itself", "its child, which keeps the pipe open"])
def test_a_driver_that_hangs_is_not_waited_for(
    nvidia_smi: MakeTool, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    nvidia_smi(TWO.encode(), script=script)
    monkeypatch.setattr(graphics_card, "TIME_LIMIT", 0.2)
    start = time.monotonic()
    cards, note = find_cards()
    assert time.monotonic() - start < 3
    assert cards == ()
    assert note == "unknown: nvidia-smi did not answer for 0.2 s; the driver hangs, restart the machine"


def test_a_program_that_cannot_be_run(nvidia_smi: MakeTool) -> None:
    nvidia_smi(interpreter="/no/such/interpreter")
    assert find_cards()[1].startswith("unknown: ")
    assert "cannot be run (No such file or directory)" in find_cards()[1]


def test_no_driver_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    cards, note = find_cards()
    assert cards == ()
    assert note.startswith("none: nvidia-smi, which comes with NVIDIA's driver, is not on the PATH")
    assert "docker run --gpus all" in note
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "docker" not in find_cards()[1]


@pytest.mark.parametrize(
    ("driver", "cuda", "advice"),
    [
        ("580.65.06", "13.0", None),
        ("595.10", "13.0", None),
        ("570.124.06", "13.0", f"CUDA 13 needs driver 580 or later, found 570.124.06; update the driver{WITH_CUDA_12}"),
        ("470.57", "13.0", "CUDA 13 needs driver 580 or later, found 470.57; update the driver"),
        ("470.57", "12.8", "CUDA 12 needs driver 525 or later, found 470.57; update the driver"),
        ("570.124.06", "12.8", None),
        ("[N/A]", "13.0", None),
        ("570", "", None),
        ("570", "99.1", None),
    ],
)
def test_a_driver_that_is_too_old_for_cuda(driver: str, cuda: str, advice: str | None) -> None:
    assert too_old(driver, cuda) == advice
