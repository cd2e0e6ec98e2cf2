"""errors.py, job.py, read_back.py and command/commands.py: foreign errors, odd options, and what must not fail."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from embedge import Bundle, BundleError, CheckpointError, InputValueError
from embedge_export import export
from embedge_export.checkpoint.fetch import fetch
from embedge_export.errors import translate_errors
from embedge_export.graph import write as graph_file
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.graph.piece import Piece
from embedge_export.graph.write import write_graph
from embedge_export.int8 import text_states
from embedge_export.int8.calibrate import calibrate
from embedge_export.int8.calibration_texts import calibration_texts
from embedge_export.verify.checks import verify_bundle


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


SOURCES = ["~nouser/x", "a" * 5000, "a/" + "b" * 5000, "a\0b", "a/b\0", "a/b c", "a/\ud800", "a/x.git"]


@pytest.mark.parametrize("source", SOURCES, ids=range(len(SOURCES)))
def test_a_source_that_is_not_a_name_or_path_is_an_error(source: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        export(source, tmp_path / "b", local_files_only=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no links in a circle")
def test_a_source_with_a_symbolic_link_loop_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(CheckpointError, match="no such directory"):
        export(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("output", ["~nouser/x", "a" * 5000, "x\0y", "/dev/null/x", "\ud800"])
def test_an_output_that_is_not_a_usable_path_is_an_error(
    tiny_checkpoint: Path, output: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="-o .*pass another path|too long.*choose another|by -o or EMBEDGE_HOME"):
        export(tiny_checkpoint, output, verify=False)


@pytest.mark.parametrize("cache", ["~nouser/x", "x\0y"])
def test_a_cache_that_is_not_a_usable_path_is_an_error(tiny_checkpoint: Path, cache: str) -> None:
    with pytest.raises(BundleError, match="cache_dir cannot be .*pass another path"):
        export(tiny_checkpoint, cache_dir=cache, verify=False)


@pytest.mark.parametrize("file", ["~nouser/x", "a\0b", "\ud800", "a" * 5000])
def test_a_calibration_that_is_not_a_file_is_an_error(tiny_checkpoint: Path, tmp_path: Path, file: str) -> None:
    with pytest.raises(InputValueError, match="--calibration cannot be .*pass another path|pass --calibration"):
        export(tiny_checkpoint, tmp_path / "b", calibration=file)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode")
def test_a_calibration_whose_name_is_not_unicode_is_an_error_before_any_work(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/t\xff.txt"))
    file.write_text("\n".join(f"text {number}" for number in range(100)))
    with pytest.raises(InputValueError, match="is not valid Unicode.*; rename it"):
        calibration_texts(file)


def test_a_tokenizer_that_fails_on_a_calibration_text_is_a_checkpoint_error(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "c")
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["model"]["unk_token"] = "[NONE]"  # not in the vocabulary
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    with pytest.raises(CheckpointError, match=r"\(WordPiece error: Missing \[UNK\].*\); get the checkpoint again"):
        export(folder, tmp_path / "b", verify=False)


@pytest.mark.parametrize(
    "options",
    [
        {"precisions": [["int8"]]},
        {"precisions": [np.array(["int8", "fp32"])]},
        {"precisions": np.array(["int8"])},
        {"precisions": [None]},
        {"precisions": None},
        {"exporter": np.array(["native", "optimum"])},
        {"exporter": []},
        {"like": 5},
        {"like": Path("bge-small-en-v1.5")},
        {"output": 5},
        {"output": b"b"},
        {"cache_dir": 5},
        {"source": None},
        {"source": b"bge-small-en-v1.5"},
    ],
    ids=repr,
)
def test_an_option_of_the_wrong_type_is_an_error(
    tiny_checkpoint: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises((CheckpointError, InputValueError), match="must be"):
        export(**{"source": tiny_checkpoint, "output": tmp_path / "b", "verify": False, **options})


def test_precisions_may_be_numpy_strings(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=list(np.array(["fp32"])), verify=False)
    assert Bundle.open(bundle.path) == bundle


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep the directory")
def test_a_current_directory_that_is_gone_stops_only_what_needs_it(tiny_checkpoint: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys; from embedge_export import export; from embedge import BundleError\n"
        "os.rmdir(os.getcwd())\n"
        "export(sys.argv[1], sys.argv[2], verify=False)\n"
        "try: export(sys.argv[1], 'b', verify=False)\n"
        "except BundleError as error: print(error)"
    )
    (tmp_path / "gone").mkdir()
    arguments = [sys.executable, "-c", code, str(tiny_checkpoint), str(tmp_path / "b")]
    done = subprocess.run(arguments, cwd=tmp_path / "gone", capture_output=True, text=True, check=False)
    assert "-o b cannot be resolved (No such file or directory)" in done.stdout, done.stderr
    Bundle.open(tmp_path / "b").check()


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("prompts", [{"query": 5}, {"query": ["a"]}])
def test_a_bundle_that_cannot_be_read_back_replaces_nothing(
    tiny_checkpoint: Path, tmp_path: Path, prompts: Any, verify: bool
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    bundle = export(folder, tmp_path / "b", verify=False)
    before = contents(bundle.path)
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    with pytest.raises((BundleError, CheckpointError), match="prompts"):
        export(folder, tmp_path / "b", force=True, verify=verify)
    assert contents(bundle.path) == before
    with pytest.raises((BundleError, CheckpointError), match="prompts"):
        export(folder, tmp_path / "new", verify=verify)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["onnx/model_int8.onnx", "tokenizer.json", "embedge.json", "unknown"])
def test_a_file_that_is_not_what_was_written_replaces_nothing(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A disk that loses data; or a graph that ONNX Runtime does not open."""
    import embedge_export.bundle_files as written

    bundle = export(tiny_checkpoint, tmp_path / "b", verify=False)
    before, write, graph = contents(bundle.path), written.write_manifest, graph_file.write_pieces

    def lose(folder: Path, manifest: Any) -> Bundle:
        found = write(folder, manifest)
        text = (folder / damage).read_bytes() if damage != "unknown" else b""
        if damage == "embedge.json":
            (folder / damage).write_bytes(text.replace(b'"max_tokens": 64', b'"max_tokens": 63'))
        elif text:
            (folder / damage).write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
        return found

    def other(pieces: Iterable[Piece], path: Path) -> int:
        whole = list(pieces)
        whole[0].model.graph.node[0].op_type = "Unknown"
        return graph(whole, path)

    monkeypatch.setattr(written, "write_manifest", lose)
    if damage == "unknown":
        monkeypatch.setattr("embedge_export.convert.write_pieces", other)
    with pytest.raises(BundleError, match="the new bundle cannot be used .* nothing was replaced"):
        export(tiny_checkpoint, tmp_path / "b", force=True, verify=False)
    assert contents(bundle.path) == before


def test_a_graph_that_onnx_runtime_refuses_is_a_one_line_error(model: ModelProto, tmp_path: Path) -> None:
    """When it opens the graph, and when it runs it."""
    write_graph(model, tmp_path / "a.onnx")
    session = CpuSession(tmp_path / "a.onnx", optimise=False)
    ids = np.full((1, 65), 3)  # one more than the model has positions
    with pytest.raises(CheckpointError, match=r"a\.onnx failed on 1 x 65 tokens \(.*\); ") as seen:
        session.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": ids})
    assert "\n" not in str(seen.value)
    (tmp_path / "b.onnx").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match=r"ONNX Runtime cannot open .*b\.onnx"):
        CpuSession(tmp_path / "b.onnx", optimise=True)


def test_a_calibration_that_the_graph_fails_on_is_an_error(model: ModelProto, tiny_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"calibrate\.onnx failed on"):
        calibrate(model, ["the cat " * 60], tokenizer=tiny_checkpoint / "tokenizer.json", max_tokens=100)
    with pytest.raises(InputValueError, match="the 0 calibration texts"):
        calibrate(model, [], tokenizer=tiny_checkpoint / "tokenizer.json", max_tokens=64)


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), OSError(28, "No space"), LookupError(), KeyError(1)])
def test_a_foreign_error_is_translated_and_keeps_its_cause(error: Exception) -> None:
    with pytest.raises(CheckpointError) as seen, translate_errors(CheckpointError, "the fact", "what to do"):
        raise error
    reason = {RuntimeError: "a", OSError: "No space", LookupError: "LookupError", KeyError: "1"}
    assert str(seen.value) == f"the fact ({reason[type(error)]}); what to do"
    assert seen.value.__cause__ is error


def test_numpys_warnings_do_not_break_an_export(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The caller makes numpy raise on each. The graphs are the same, and the caller's setting stays as it was."""
    expected = export(tiny_checkpoint, tmp_path / "a", precisions=("int8", "fp32", "fp16"), verify=False)
    with np.errstate(all="raise"):
        found = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32", "fp16"))
        qualities = list(verify_bundle(found, checkpoint=str(tiny_checkpoint), cache=tmp_path))
        kept = np.geterr()
    assert set(kept.values()) == {"raise"}
    assert all(quality is not None for _, quality in qualities)
    assert found.manifest.files == expected.manifest.files


def test_verifying_leaves_numpys_settings_alone_between_two_precisions(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with np.errstate(all="raise"):
        for _ in verify_bundle(tiny_bundle, checkpoint=None, cache=tmp_path):
            assert set(np.geterr().values()) == {"raise"}


def test_all_temporary_files_of_an_export_are_beside_its_destination(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system's temporary folder is small or in memory, an export still has the room of its destination."""
    monkeypatch.setattr(text_states, "_IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    export(tiny_checkpoint, tmp_path / "bundle", precisions=("int8", "fp32")).check()


EXPORT = "import sys; from embedge.command.main import main; sys.argv[0] = 'embedge'; main()"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_progress_that_cannot_be_written_does_not_fail_an_export(
    tiny_checkpoint: Path, tmp_path: Path, redirection: str
) -> None:
    command = f'"$0" -c "$1" export "$2" -o "$3" --no-verify {redirection}'
    arguments = ["sh", "-c", command, sys.executable, EXPORT, str(tiny_checkpoint), str(tmp_path / "b")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ, check=False)
    assert (done.returncode, done.stdout) == (0, f'Embedder("{tmp_path / "b"}") loads it.\n')
    Bundle.open(tmp_path / "b").check()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_result_that_cannot_be_written_fails(tiny_checkpoint: Path, tmp_path: Path) -> None:
    command = '"$0" -c "$1" export "$2" -o "$3" --no-verify >/dev/full'
    arguments = ["sh", "-c", command, sys.executable, EXPORT, str(tiny_checkpoint), str(tmp_path / "b")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_log_line_that_cannot_be_written_does_not_fail_a_command() -> None:
    code = (
        "import logging; from embedge.command.log import log_shown\n"
        "with log_shown(): logging.getLogger('embedge').info('a step'); print('done')"
    )
    command = '"$0" -c "$1" 2>/dev/full'
    done = subprocess.run(["sh", "-c", command, sys.executable, code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_directory_is_named_as_it_was_given(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle has the directory's own name, not a dot."""
    monkeypatch.chdir(tiny_checkpoint)
    found = fetch(".", cache=tmp_path, local_files_only=True)
    assert (found.directory, found.name) == (Path(), tiny_checkpoint.name)
