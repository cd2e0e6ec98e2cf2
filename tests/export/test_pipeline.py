"""pipeline.py, bundle_files.py and quality.py: what an export leaves behind, whatever happens to it."""

import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from embedge import (
    Bundle,
    BundleCorruptError,
    BundleError,
    CheckpointError,
    Embedder,
    InputValueError,
    PrecisionNotFoundError,
    QualityError,
)
from embedge.command.main import cli
from embedge_export import convert, export
from embedge_export.checkpoint.recipe import Floor
from embedge_export.verify import measure
from embedge_export.verify import quality as verify
from embedge_export.verify.quality import reverify
from embedge_export.verify.reference import Reference
from manifests import sealed

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


def test_what_is_there_already_is_left_alone(
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
    with pytest.raises(BundleError, match="is there and is no bundle"):
        export(tiny_checkpoint, tmp_path / "b", force=True, verify=False)
    assert contents(tmp_path / "b") == {"thesis.tex": b"years of work"}


def test_a_failure_leaves_what_was_there(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tiny_checkpoint, tmp_path / "b", verify=False)
    before = contents(tmp_path)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embedge.bundle.staging._sync", full)
    with pytest.raises(BundleError, match="No space left.*make room"):
        export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("there", ["nothing", "bundle"])
def test_killed_at_any_point_it_leaves_a_whole_bundle_or_none(
    tiny_checkpoint: Path, tmp_path: Path, there: str
) -> None:
    """SIGKILL every few milliseconds through the part of an export that writes."""
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


def test_every_graph_is_verified_against_optimum(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32", "fp16"))
    for precision, least in (("fp32", 0.99999), ("fp16", 0.9999), ("int8", 0.99)):
        quality = bundle.manifest.precisions[precision].quality
        assert quality is not None
        assert quality.reference.startswith("optimum-onnx")
        assert least < quality.cosine_min <= quality.cosine_mean <= 1.0000001


@pytest.mark.parametrize(("mean", "minimum"), [(0.9999999, 0.5), (0.5, 0.9999999)])
def test_below_the_floor_nothing_is_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean: float, minimum: float
) -> None:
    """On average or for the worst text."""
    monkeypatch.setattr(verify, "FLOORS", {"int8": Floor(mean, minimum)})
    with pytest.raises(QualityError, match=f"the floor is {mean} and {minimum}"):
        export(tiny_checkpoint, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_without_optimum_int8_is_verified_against_the_fp32_graph(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (convert, verify):
        monkeypatch.setattr(module, "has_optimum_extra", lambda: False)
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32"))
    assert bundle.manifest.precisions["fp32"].quality is None
    quality = bundle.manifest.precisions["int8"].quality
    assert quality is not None
    assert quality.reference == "fp32 graph"


def test_another_calibration_makes_int8_anew(
    tiny_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And only int8; the same file again makes nothing."""
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
    """It is not ignored; without one, what is there stays."""
    own = tmp_path / "own.txt"
    own.write_text("\n".join("cat " * n for n in range(1, 41)), encoding="utf-8")
    export(tiny_checkpoint, tmp_path / "b", exporter="optimum", verify=False)
    kept = export(tiny_checkpoint, tmp_path / "b", verify=False).manifest.precisions["int8"]
    fitted = export(tiny_checkpoint, tmp_path / "b", calibration=own, verify=False).manifest.precisions["int8"]
    assert (kept.exporter, kept.calibration) == ("optimum", None)
    assert fitted.exporter == "native"
    assert fitted.calibration is not None
    assert fitted.calibration.file == "own.txt"


def test_calibration_texts_that_are_one_to_the_tokenizer_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("\n".join(f"the cat sat on mat {n}" for n in range(40)), encoding="utf-8")
    with pytest.raises(InputValueError, match="the 40 calibration texts are 1 different ones to the tokenizer"):
        export(tiny_checkpoint, tmp_path / "b", calibration=own)
    assert not (tmp_path / "b").exists()


def test_int8_that_was_never_fitted_is_made_anew(tiny_checkpoint: Path, tmp_path: Path) -> None:
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
    with pytest.raises(CheckpointError, match="only native int8 is"):
        export(tiny_checkpoint, tmp_path / "b", precisions=(precision,), exporter=exporter, calibration="own.txt")


def test_a_vector_that_minds_its_batch_fails_the_export(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "batch_difference", lambda model, texts: 1e-7)
    with pytest.raises(QualityError, match="changes by 1.0e-07 with what else is in its batch"):
        export(tiny_checkpoint, tmp_path / "b")


def test_the_report_tells_what_was_measured(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A retrieval overlap, a percentile and a batch difference of exactly zero."""
    quality = export(tiny_checkpoint, tmp_path / "b").manifest.precisions["int8"].quality
    assert quality is not None
    assert quality.cosine_p1 is not None
    assert quality.cosine_min <= quality.cosine_p1 <= quality.cosine_mean
    assert quality.top10_overlap is not None
    assert 0.5 < quality.top10_overlap <= 1
    assert quality.batch_difference == 0.0
    assert quality.texts == 125


def test_verify_measures_anew_from_the_checkpoint(tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path) -> None:
    found = dict(reverify(tiny_bundle, checkpoint=str(tiny_checkpoint), cache=tmp_path))
    assert found["fp32"] is not None
    assert found["fp32"].reference.startswith("optimum-onnx")
    own = dict(reverify(tiny_bundle, checkpoint=None, cache=tmp_path))
    assert own["fp32"] is None
    assert own["int8"] is not None
    assert own["int8"].reference == "fp32 graph"


def test_a_report_is_the_same_to_a_trimmed_reference_as_to_a_whole_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Optimum's int8 gives all tokens, a native fp32 graph only the first: the first is what both are compared on."""
    export(tiny_checkpoint, tmp_path / "b", exporter="optimum", verify=False)
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    trimmed = measure.measure(bundle, "int8", Reference(bundle.graph("fp32"), "fp32 graph"))
    swapped = measure.measure(bundle, "fp32", Reference(bundle.graph("int8"), "int8 graph"))
    assert trimmed.max_abs_difference is not None
    assert 0 < trimmed.max_abs_difference < 0.5
    assert swapped.max_abs_difference == trimmed.max_abs_difference


def test_the_report_sees_what_is_wrong(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Int8 with one scale for a whole batch minds its batch; a graph and itself agree on everything."""
    export(tiny_checkpoint, tmp_path / "b", exporter="optimum", verify=False)
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    reference = Reference(bundle.graph("fp32"), "fp32 graph")
    rough, same = (measure.measure(bundle, precision, reference) for precision in ("int8", "fp32"))
    assert rough.batch_difference is not None
    assert rough.top10_overlap is not None
    assert rough.cosine_p1 is not None
    assert rough.batch_difference > 1e-5
    assert (same.batch_difference, same.top10_overlap, same.max_abs_difference) == (0, 1, 0)
    assert rough.top10_overlap < 1
    assert rough.cosine_min < rough.cosine_p1 < rough.cosine_mean < 1


def test_verify_refuses_another_checkpoint(
    tiny_bundle: Bundle, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="its files differ"):
        list(reverify(tiny_bundle, checkpoint=str(make_checkpoint(seed=5)), cache=tmp_path))


@pytest.mark.parametrize("precision", ["int8", "fp32", "fp16"])
def test_the_optimum_exporter_makes_the_same_vectors(
    tiny_checkpoint: Path, tiny: Embedder, tmp_path: Path, precision: Any
) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=(precision,), exporter="optimum", verify=False)
    cosine = Embedder(bundle.path).encode("the cat sat") @ tiny.encode("the cat sat")
    assert cosine > (0.99 if precision == "int8" else 0.99999)


def test_the_optimum_exporter_brings_other_architectures(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A seeded DistilBERT, held to transformers' own module."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "distil"))
    config = DistilBertConfig(vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64)
    model = DistilBertModel(config).eval()
    model.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="distilbert model.*--exporter optimum"):
        export(folder, tmp_path / "b")
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), exporter="optimum")
    embedder = Embedder(bundle.path)
    ids = torch.tensor([embedder._engine.tokeniser.encode(["the cat sat"]).ids[0].tolist()])
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state[0, 0].numpy()
    np.testing.assert_allclose(embedder.encode("the cat sat", normalize=False), expected, atol=1e-4)


def test_pickles_give_the_same_graph_and_run_no_code(tiny: Embedder, tiny_checkpoint: Path, tmp_path: Path) -> None:
    import pickle

    import torch
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "pickled"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    bundle = export(folder, tmp_path / "b", precisions=("fp32",))
    np.testing.assert_array_equal(Embedder(bundle.path).encode("the cat sat"), tiny.encode("the cat sat"))
    export(folder, tmp_path / "o", precisions=("fp32",), exporter="optimum")

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"embeddings.LayerNorm.weight": Trap()}))
    with pytest.raises(CheckpointError, match="no plain dictionary of tensors"):
        export(folder, tmp_path / "c", precisions=("fp32",))
    with pytest.raises(CheckpointError, match="optimum cannot export"):
        export(folder, tmp_path / "c", precisions=("fp32",), exporter="optimum")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "pools by"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pools by max"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "has a Dense layer"),
        ("config.json", {"model_type": "bert", "vocab_size": 10}, "must agree"),
        ("config.json", [], "must hold a JSON object"),
        ("tokenizer.json", {}, "is not a tokenizer"),
    ],
)
def test_a_checkpoint_that_cannot_be_exported_says_why(
    tiny_checkpoint: Path, tmp_path: Path, file: str, value: object, message: str
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "broken"))
    (folder / file).write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match=message):
        export(folder, tmp_path / "b")


@pytest.mark.parametrize("mode", ["cls", "mean", "lasttoken"])
def test_both_spellings_of_pooling_are_read(tiny_checkpoint: Path, tmp_path: Path, mode: str) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": mode}))
    assert export(folder, tmp_path / "b", verify=False).manifest.pooling == mode.removesuffix("token")


def test_a_fine_tune_takes_what_it_lacks_from_a_recipe(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    shutil.rmtree(folder / "1_Pooling")
    (folder / "config_sentence_transformers.json").unlink()
    with pytest.raises(CheckpointError, match="does not say how it pools.*--like"):
        export(folder, tmp_path / "b", verify=False)
    manifest = export(folder, tmp_path / "b", like="bge-small-en-v1.5", verify=False).manifest
    assert manifest.pooling == "cls"
    assert manifest.prompts == {"query": "Represent this sentence for searching relevant passages: "}
    assert manifest.max_tokens == 64


def test_no_tokenizer_names_the_command_that_makes_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="holds no tokenizer.json; `python -c"):
        export(folder, tmp_path / "b")


@pytest.mark.parametrize("exporter", ["native", "optimum"])
def test_vectors_that_are_not_finite_are_never_written(
    make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path, tmp_path: Path, exporter: Any
) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(tiny_checkpoint / "model.safetensors")
    tensors["encoder.layer.1.output.LayerNorm.weight"][:] = 3e38
    folder = make_checkpoint(tensors=tensors)
    with pytest.raises(QualityError, match="last_hidden_state that is not finite.*get the checkpoint again"):
        export(folder, tmp_path / "b", precisions=("fp32",), exporter=exporter)
    assert not (tmp_path / "b").exists()


def test_optimum_fills_no_tensor_with_random_numbers(
    make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(tiny_checkpoint / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"]
    folder = make_checkpoint(tensors=tensors)
    for exporter in ("native", "optimum"):
        with pytest.raises(CheckpointError, match=r"has no tensor encoder\.layer\.1\.output\.dense\.bias"):
            export(folder, tmp_path / "b", exporter=exporter)


def test_a_changed_config_is_another_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    export(folder, tmp_path / "b", verify=False)
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "mean"}))
    with pytest.raises(BundleError, match="before it changed.*--force"):
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
def test_another_like_needs_force_and_makes_all_anew(tiny_checkpoint: Path, tmp_path: Path, first: str | None) -> None:
    """It may pool in another way: the graphs that are there would no longer be what the manifest says."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "config_sentence_transformers.json").unlink()
    if first:
        shutil.rmtree(folder / "1_Pooling")
    made = export(folder, tmp_path / "b", precisions=("int8", "fp32"), like=first, verify=False)
    said = f"with --like {first}; give that" if first else "without --like; leave it out"
    for options in ({"precisions": ("fp16",)}, {}):
        with pytest.raises(BundleError, match=f"was made {said}, give -o .*--force"):
            export(folder, tmp_path / "b", like="all-MiniLM-L6-v2", verify=False, **options)  # type: ignore[arg-type]
    assert Bundle.open(tmp_path / "b") == made
    anew = export(folder, tmp_path / "b", like="all-MiniLM-L6-v2", force=True, verify=False).manifest
    assert (set(anew.precisions), anew.source.like) == ({"int8"}, "all-MiniLM-L6-v2")


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
    with pytest.raises(BundleCorruptError, match="copy the bundle again, or `embedge export CHECKPOINT") as seen:
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


def test_verify_wants_a_hash_of_every_graph(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "b"))
    manifest = json.loads((folder / "embedge.json").read_text())
    del manifest["files"]["onnx/model.onnx"]
    (folder / "embedge.json").write_text(sealed(manifest))
    with pytest.raises(BundleError, match="records no hash"):
        Bundle.open(folder).check()


def test_pooling_is_read_where_modules_json_says(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "2_Pooling").mkdir()
    (folder / "2_Pooling/config.json").write_text('{"pooling_mode": "mean"}')
    kinds = {"Transformer": "", "Pooling": "2_Pooling"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    assert export(folder, tmp_path / "b", verify=False).manifest.pooling == "mean"


def test_a_name_that_is_no_name_is_made_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "my -- model"))
    bundle = export(folder, verify=False)
    assert Embedder(bundle.path.name).dimension == 32


def test_odd_files_in_a_bundle_go_on(tiny_checkpoint: Path, tmp_path: Path) -> None:
    export(tiny_checkpoint, tmp_path / "b", verify=False)
    (tmp_path / "b/link").symlink_to("nowhere")
    (tmp_path / "b/empty").mkdir()
    export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    assert (tmp_path / "b/link").is_symlink()
    assert (tmp_path / "b/empty").is_dir()
