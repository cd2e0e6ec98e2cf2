"""A bundle that is damaged or lacks a precision: the command in the error, and the files that an export makes again."""

import logging
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from embedge import Bundle, BundleCorruptError, PrecisionNotFoundError
from embedge.command.main import cli
from embedge_export import export


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def advised(error: BaseException, **places: Path) -> list[str]:
    """The arguments of the command in an error, with the placeholders in it replaced by paths."""
    command = re.search("`embedge (.*?)`", str(error))
    assert command, error
    return [str(places.get(word, word)) for word in shlex.split(command[1])]


@pytest.mark.parametrize("damaged", ["onnx/model_int8.onnx", "onnx/model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("choice", ["like", "exporter", "calibration"])
def test_the_command_in_the_error_repairs_a_damaged_bundle(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, damaged: str
) -> None:
    """It repeats the options of the first export. You fill in the checkpoint's directory, which no manifest records."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    if choice == "like":
        shutil.rmtree(folder / "1_Pooling")
        (folder / "config_sentence_transformers.json").unlink()
    (tmp_path / "own.txt").write_text("\n".join("cat " * n for n in range(1, 41)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"like": "bge-small-zh-v1.5", "exporter": "optimum", "calibration": "own.txt"}
    bundle = export(folder, tmp_path / "b", precisions=("int8", "fp32"), verify=False, **{choice: options[choice]})
    before = contents(bundle.path)
    (bundle.path / damaged).write_bytes(b"junk")
    with pytest.raises(BundleCorruptError, match="copy the bundle again, or run `embedge export CHECKPOINT") as seen:
        bundle.check()
    done = CliRunner().invoke(cli, [*advised(seen.value, CHECKPOINT=folder), "--no-verify"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert Bundle.open(bundle.path).manifest == bundle.manifest
    after = contents(bundle.path)
    assert after == before | {"embedge.json": after["embedge.json"]}  # its precisions may be in another order


def test_the_command_in_the_error_adds_a_missing_precision(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The checkpoint needs --like, and the manifest still records it afterwards."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    shutil.rmtree(folder / "1_Pooling")
    bundle = export(folder, tmp_path / "b", like="bge-small-en-v1.5", verify=False)
    with pytest.raises(PrecisionNotFoundError) as seen:
        bundle.pick_precision("fp32")
    arguments = [*advised(seen.value, CHECKPOINT=folder), "--no-verify"]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
    after = Bundle.open(bundle.path).manifest
    assert (set(after.precisions), after.source.like) == ({"int8", "fp32"}, "bge-small-en-v1.5")


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"junk"), Path.unlink], ids=["changed", "gone"])
def test_a_damaged_side_file_is_made_again_and_no_graph(
    tiny_checkpoint: Path, tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "bundle")
    damage(bundle.path / "tokenizer.json")
    caplog.set_level(logging.INFO, "embedge")
    again = export(tiny_checkpoint, bundle.path)
    again.check()
    assert again.manifest == bundle.manifest
    assert not [line for line in caplog.messages if line.startswith(("graph", "int8", "verify"))]
    assert export(tiny_checkpoint, bundle.path) == again
    assert caplog.messages[-1].endswith("holds int8 already")


def test_a_damaged_graph_is_made_again(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Also by an export that adds another precision: no bundle is written with a damaged file in it."""
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32"), verify=False)
    (bundle.path / "onnx/model.onnx").write_bytes(b"junk")
    export(tiny_checkpoint, tmp_path / "b", verify=False).check()
    assert set(Bundle.open(tmp_path / "b").manifest.precisions) == {"int8", "fp32"}
