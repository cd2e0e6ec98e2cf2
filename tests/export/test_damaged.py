"""A bundle that is damaged or lacks a precision: what is advised, and what an export makes again."""

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
    """The command in an error, without its first word; a word that stands for a place becomes it."""
    command = re.search("`embedge (.*?)`", str(error))
    assert command, error
    return [str(places.get(word, word)) for word in shlex.split(command[1])]


@pytest.mark.parametrize("damaged", ["onnx/model_int8.onnx", "onnx/model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("choice", ["like", "exporter", "calibration"])
def test_what_a_damaged_bundle_advises_makes_it_again(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, damaged: str
) -> None:
    """As it was made; once a place is given for the checkpoint, which the manifest does not know."""
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
    assert after == before | {"embedge.json": after["embedge.json"]}  # which may name them in another order


def test_what_is_advised_for_a_precision_that_is_missing_adds_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """To a bundle of a checkpoint that needs --like; and after that the manifest still knows."""
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
    """By the export that adds another precision, too: a bundle is never written with a bad file in it."""
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32"), verify=False)
    (bundle.path / "onnx/model.onnx").write_bytes(b"junk")
    export(tiny_checkpoint, tmp_path / "b", verify=False).check()
    assert set(Bundle.open(tmp_path / "b").manifest.precisions) == {"int8", "fp32"}
