"""saved_pieces.py and by_layer.py: an export that was stopped goes on where it was, and its bytes are the same."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from embedge import Bundle
from embedge_export import export
from embedge_export.checkpoint.table import Table
from embedge_export.graph.builder import Builder
from embedge_export.graph.piece import Piece, join
from embedge_export.int8 import by_layer, quantise
from embedge_export.int8.saved_pieces import SavedPieces

MakeCheckpoint = Callable[..., Path]
SIZES = {"num_hidden_layers": 6}
# An export whose process ends itself, as by SIGKILL, when a number of pieces are saved.
STOPPED = """
import os, signal, sys
from embedge_export import export
from embedge_export.int8 import saved_pieces
source, output, most, half = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "half"
real = saved_pieces.SavedPieces.save
write = saved_pieces.write_pieces

def write_half(pieces, path):
    write(pieces, path)
    path.write_bytes(path.read_bytes()[:100])
    os.kill(os.getpid(), signal.SIGKILL)

def save(self, number, piece):
    if number == most:
        if not half:
            os.kill(os.getpid(), signal.SIGKILL)
        saved_pieces.write_pieces = write_half
    real(self, number, piece)

saved_pieces.SavedPieces.save = save
export(source, output, verify=False)
"""


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(config=SIZES)


@pytest.fixture(scope="module")
def uninterrupted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(checkpoint, tmp_path_factory.mktemp("whole") / "b", verify=False)


def graphs(bundle: Bundle) -> dict[str, bytes]:
    return {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files if name.startswith("onnx/")}


def kill(checkpoint: Path, output: Path, *, pieces: int, half: bool = False) -> None:
    """Start an export, which is killed when it has saved some pieces, or while it writes the next one."""
    command = [sys.executable, "-c", STOPPED, str(checkpoint), str(output), str(pieces), "half" if half else "no"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def small_piece(value: float) -> Piece:
    builder, table = Builder(), np.full((600, 3), value, np.float32)
    builder.op("Gather", [builder.constant("table", Table.of(table)), "ids"], name="rows")
    builder.op("Add", ["rows", builder.constant("bias", np.full(300, value, np.float32))], name="sum")
    builder.op("Mul", ["sum", builder.constant("one", np.ones(1, np.float32))], name="result")
    return Piece(model=builder.take(), tables={"table": Table.of(table)})


def test_a_saved_piece_is_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    saved = SavedPieces(tmp_path / "s", "key")
    for number in range(3):
        saved.save(number, small_piece(number))
    again = SavedPieces(tmp_path / "s", "key")
    assert again.count == 3
    for number in range(3):
        found, expected = join([again.load(number)]), join([small_piece(number)])
        assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("pieces", [1, 4, 7])
@pytest.mark.parametrize("half", [False, True], ids=["between pieces", "in a piece"])
def test_a_killed_export_goes_on_and_its_bytes_are_the_same(
    checkpoint: Path,
    uninterrupted: Bundle,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    pieces: int,
    half: bool,
) -> None:
    """It is killed by SIGKILL. Finished layers are not quantised again, and a half-written one is not used."""
    kill(checkpoint, tmp_path / "b", pieces=pieces, half=half)
    assert not (tmp_path / "b").exists()
    made: list[Piece] = []

    def quantise_piece(piece: Piece, *args: Any, **options: Any) -> Piece:
        made.append(piece)
        return quantise.quantise_piece(piece, *args, **options)

    monkeypatch.setattr(f"{by_layer.__name__}.quantise_piece", quantise_piece)
    with caplog.at_level(logging.INFO, "embedge"):
        bundle = export(checkpoint, tmp_path / "b", verify=False)
    assert len(made) == 8 - pieces
    assert f"resume     after layer {pieces - 1} of 6" in caplog.text
    assert graphs(bundle) == graphs(uninterrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_an_export_with_other_calibration_texts_starts_again(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = tmp_path / "texts" / "own.txt"
    texts.parent.mkdir()
    texts.write_text("\n".join("the " * (n % 8 + 1) + "cat " * (n // 8 + 1) for n in range(40)))
    whole = export(checkpoint, tmp_path / "w" / "b", calibration=texts, verify=False)
    kill(checkpoint, tmp_path / "k" / "b", pieces=3)
    with caplog.at_level(logging.INFO, "embedge"):
        bundle = export(checkpoint, tmp_path / "k" / "b", calibration=texts, verify=False)
    assert "resume     not possible: since the export that was stopped" in caplog.text
    assert graphs(bundle) == graphs(whole)


def test_a_failed_export_keeps_its_layers_for_the_next_one(
    checkpoint: Path, uninterrupted: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the user pressed Ctrl+C while the last files are written."""

    def stop(*_: object) -> ModelProto:
        raise KeyboardInterrupt

    monkeypatch.setattr("embedge_export.convert.write_fused_graph", stop)
    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "b", verify=False)
    monkeypatch.undo()
    monkeypatch.setattr(f"{by_layer.__name__}.quantise_piece", stop)  # all pieces are there
    assert graphs(export(checkpoint, tmp_path / "b", verify=False)) == graphs(uninterrupted)
