"""An export's calibration and other choices: which of them make graphs again, and which are refused."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from embedge import BundleError, CheckpointError, InputValueError
from embedge_export import export
from manifests import sealed


def test_another_calibration_makes_int8_again(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It makes only int8 again. A second export with the same file makes nothing."""
    own = tmp_path / "own.txt"
    own.write_text("\n".join("cat " * n for n in range(1, 41)), encoding="utf-8")
    first = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32"), verify=False)
    second = export(tiny_checkpoint, tmp_path / "b", precisions=("int8",), calibration=own, verify=False)
    caplog.set_level(logging.INFO, "embedge")
    export(tiny_checkpoint, tmp_path / "b", precisions=("int8",), calibration=own, verify=False)
    assert "holds int8 already" in caplog.messages[-1]
    calibrations = [bundle.manifest.precisions["int8"].calibration for bundle in (first, second)]
    assert [found and found.file for found in calibrations] == [None, "own.txt"]
    assert first.manifest.files["onnx/model.onnx"] == second.manifest.files["onnx/model.onnx"]
    assert first.manifest.files["onnx/model_int8.onnx"] != second.manifest.files["onnx/model_int8.onnx"]


def test_a_calibration_replaces_int8_that_another_exporter_made(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Without a calibration, the graph of the other exporter stays."""
    own = tmp_path / "own.txt"
    own.write_text("\n".join("cat " * n for n in range(1, 41)), encoding="utf-8")
    export(tiny_checkpoint, tmp_path / "b", exporter="optimum", verify=False)
    kept = export(tiny_checkpoint, tmp_path / "b", verify=False).manifest.precisions["int8"]
    fitted = export(tiny_checkpoint, tmp_path / "b", calibration=own, verify=False).manifest.precisions["int8"]
    assert (kept.exporter, kept.calibration) == ("optimum", None)
    assert fitted.exporter == "native"
    assert fitted.calibration is not None
    assert fitted.calibration.file == "own.txt"


def test_calibration_texts_with_the_same_tokens_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("\n".join(f"the cat sat on mat {n}" for n in range(40)), encoding="utf-8")
    with pytest.raises(
        InputValueError, match="the 40 calibration texts have 1 different token sequences, at least 32 are needed"
    ):
        export(tiny_checkpoint, tmp_path / "b", calibration=own)
    assert not (tmp_path / "b").exists()


def test_int8_that_was_never_calibrated_is_made_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "b", verify=False)
    manifest = json.loads((bundle.path / "embedge.json").read_text())
    manifest["precisions"]["int8"]["calibration"] = None
    (bundle.path / "embedge.json").write_text(sealed(manifest))
    again = export(tiny_checkpoint, tmp_path / "b", verify=False)
    assert again.manifest.precisions["int8"].calibration is not None


@pytest.mark.parametrize(("made", "message"), [("optimum", "--exporter optimum"), ("native", "--calibration own.txt")])
def test_a_damaged_graph_does_not_silently_become_another(
    tiny_checkpoint: Path, tmp_path: Path, made: Any, message: str
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("\n".join("cat " * n for n in range(1, 41)), encoding="utf-8")
    calibration = own if made == "native" else None
    bundle = export(tiny_checkpoint, tmp_path / "b", exporter=made, calibration=calibration, verify=False)
    (bundle.path / "onnx/model_int8.onnx").write_bytes(b"junk")
    with pytest.raises(BundleError, match=f"is damaged, and was made with {message}"):
        export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    export(tiny_checkpoint, tmp_path / "b", verify=False, force=True).check()


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"precisions": "int8"}, "precisions must be a list"), ({"calibration": 3}, "calibration must be a path")],
)
def test_a_choice_of_another_type_is_refused(tiny_checkpoint: Path, choice: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        export(tiny_checkpoint, **choice)


@pytest.mark.parametrize(("exporter", "precision"), [("optimum", "int8"), ("native", "fp32")])
def test_a_calibration_that_nothing_would_use_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, exporter: Any, precision: Any
) -> None:
    with pytest.raises(CheckpointError, match="only int8 of the native exporter does"):
        export(tiny_checkpoint, tmp_path / "b", precisions=(precision,), exporter=exporter, calibration="own.txt")
