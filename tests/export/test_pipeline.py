"""pipeline.py and bundle_files.py: the files that an export leaves behind, even if it fails or is killed."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Bundle, BundleError, Embedder, Precision
from embedge.bundle.copy import copy_bundle
from embedge_export import export

MakeCheckpoint = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_directory_goes_to_the_cache_under_its_name_and_weights(tiny_checkpoint: Path) -> None:
    bundle = export(tiny_checkpoint, verify=False)
    assert bundle.path.name == f"tiny-{bundle.manifest.source.checkpoint_sha256[:8]}"
    assert Embedder(bundle.path.name).encode("the cat").shape == (32,)


def test_another_precision_is_added_and_the_first_is_untouched(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = contents(export(tiny_checkpoint, tmp_path / "b", verify=False).path)
    caplog.set_level(logging.INFO, "embedge")
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("fp32", "int8"), verify=False)
    bundle.check()
    assert set(bundle.manifest.precisions) == {"int8", "fp32"}
    assert contents(bundle.path)["onnx/model_int8.onnx"] == first["onnx/model_int8.onnx"]
    assert not any(line.startswith("int8") for line in caplog.messages)


def test_config_json_names_the_graphs_for_transformers_js(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Its names for them, whichever export made them; the rest is the checkpoint's."""
    own = json.loads((tiny_checkpoint / "config.json").read_text(encoding="utf-8"))
    expected: list[tuple[Precision, dict[str, int]]] = [
        ("fp16", {"model_fp16.onnx": 1}),
        ("fp32", {"model.onnx": 1, "model_fp16.onnx": 1}),
        ("int8", {"model_int8.onnx": 1, "model.onnx": 1, "model_fp16.onnx": 1}),
    ]
    for precision, weights in expected:
        bundle = export(tiny_checkpoint, tmp_path / "b", precisions=(precision,), verify=False)
        bundle.check()
        config = json.loads((bundle.path / "config.json").read_text(encoding="utf-8"))
        assert config.pop("transformers.js_config") == {"dtype": precision, "use_external_data_format": weights}
        assert config == own
        assert {path.name for path in bundle.path.glob("onnx/*.onnx_data")} == {f"{name}_data" for name in weights}
    assert "transformers.js_config" not in json.loads((tiny_checkpoint / "config.json").read_text(encoding="utf-8"))


def test_a_cut_bundle_is_the_one_that_export_makes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    both = export(tiny_checkpoint, tmp_path / "both", precisions=("int8", "fp32"), verify=False)
    alone = export(tiny_checkpoint, tmp_path / "alone", precisions=("fp32",), verify=False)
    assert contents(copy_bundle(both, tmp_path / "cut", precisions=["fp32"]).path) == contents(alone.path)


def test_a_complete_bundle_is_left_alone(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export(tiny_checkpoint, tmp_path / "b", verify=False)
    before = contents(tmp_path / "b")
    caplog.set_level(logging.INFO, "embedge")
    export(tiny_checkpoint, tmp_path / "b", verify=False)
    assert contents(tmp_path / "b") == before
    assert "holds int8 already" in caplog.messages[-1]


def test_another_checkpoint_needs_force(make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path, tmp_path: Path) -> None:
    export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32"), verify=False)
    (tmp_path / "b" / "NOTES.md").write_text("mine")
    other = make_checkpoint("other", seed=1)
    with pytest.raises(BundleError, match="made from another checkpoint.*--force"):
        export(other, tmp_path / "b", verify=False)
    bundle = export(other, tmp_path / "b", force=True, verify=False)
    bundle.check()
    assert set(bundle.manifest.precisions) == {"int8"}
    assert not (tmp_path / "b" / "onnx" / "model.onnx").exists()
    assert (tmp_path / "b" / "NOTES.md").read_text() == "mine"


def test_a_directory_of_something_else_is_never_replaced(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        export(tiny_checkpoint, tmp_path / "b", force=True, verify=False)
    assert contents(tmp_path / "b") == {"thesis.tex": b"years of work"}


def test_a_failure_leaves_what_was_there(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tiny_checkpoint, tmp_path / "b", verify=False)
    before = contents(tmp_path)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="No space left.*make room"):
        export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("there", ["nothing", "bundle"])
def test_killed_at_any_point_it_leaves_a_whole_bundle_or_none(
    tiny_checkpoint: Path, tmp_path: Path, there: str
) -> None:
    """SIGKILL after different delays, through the part of an export that writes."""
    target = tmp_path / "b"
    if there == "bundle":
        export(tiny_checkpoint, target, verify=False)
    code = (
        "import sys; from embedge_export import export, bundle_files, pipeline; "
        "import embedge_export.graph.encoder, embedge_export.int8.quantise, embedge.bundle.file_lock\n"
        f"print('ready', flush=True); export({str(tiny_checkpoint)!r}, {str(target)!r}, "
        "precisions=('int8', 'fp32'), force=True, verify=False); print('done', flush=True)"
    )
    outcomes = set()
    for delay in (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 5.0):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            if delay == 5.0:
                process.stdout.readline()
            time.sleep(min(delay, 0.2))
            os.kill(process.pid, signal.SIGKILL)
        if target.exists():
            bundle = Bundle.open(target)
            bundle.check()
            outcomes.add(tuple(sorted(bundle.manifest.precisions)))
        elif there == "bundle":
            pytest.fail("the bundle that was there is gone")
    assert ("fp32", "int8") in outcomes
    export(tiny_checkpoint, target, verify=False)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_changed_config_is_another_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    export(folder, tmp_path / "b", verify=False)
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    with pytest.raises(BundleError, match="before the checkpoint changed.*--force"):
        export(folder, tmp_path / "b", precisions=("fp32",), verify=False)


def test_a_prompt_given_by_like_stays_when_a_precision_is_added(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "config_sentence_transformers.json").unlink()
    first = export(folder, tmp_path / "b", like="bge-small-en-v1.5", verify=False).manifest
    second = export(folder, tmp_path / "b", precisions=("fp32",), verify=False).manifest
    assert first.prompts == second.prompts != {}
    for_others = json.loads((tmp_path / "b/config_sentence_transformers.json").read_text(encoding="utf-8"))
    assert for_others["prompts"]["query"] == second.prompts["query"]


@pytest.mark.parametrize("first", ["bge-small-en-v1.5", None])
def test_another_like_needs_force_and_makes_everything_again(
    tiny_checkpoint: Path, tmp_path: Path, first: str | None
) -> None:
    """Another recipe may pool differently, and the manifest would then not describe the existing graphs."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "config_sentence_transformers.json").unlink()
    if first:
        shutil.rmtree(folder / "1_Pooling")
    made = export(folder, tmp_path / "b", precisions=("int8", "fp32"), like=first, verify=False)
    said = f"with --like {first}; pass --like {first}, or " if first else "without --like; leave --like out, or "
    for options in ({"precisions": ("fp16",)}, {}):
        with pytest.raises(BundleError, match=f"was made {said}pass -o another directory.*--force"):
            export(folder, tmp_path / "b", like="all-MiniLM-L6-v2", verify=False, **options)  # type: ignore[arg-type]
    assert Bundle.open(tmp_path / "b") == made
    again = export(folder, tmp_path / "b", like="all-MiniLM-L6-v2", force=True, verify=False).manifest
    assert (set(again.precisions), again.source.like) == ({"int8"}, "all-MiniLM-L6-v2")


def test_a_directory_name_that_is_not_a_bundle_name_is_made_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "my -- model"))
    bundle = export(folder, verify=False)
    assert Embedder(bundle.path.name).dimension == 32


def test_other_files_in_a_bundle_are_kept(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export(tiny_checkpoint, tmp_path / "b", verify=False)
    (tmp_path / "b/link").symlink_to("nowhere")
    (tmp_path / "b/empty").mkdir()
    export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    assert (tmp_path / "b/link").is_symlink()
    assert (tmp_path / "b/empty").is_dir()
