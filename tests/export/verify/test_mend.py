"""An int8 graph below its floor is mended, and what is still below it is kept until somebody accepts it."""

import json
import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from embedge import Bundle, CheckpointError, Embedder, QualityError
from embedge.bundle.manifest import BelowFloor, Quality
from embedge.command.info import info
from embedge.command.main import cli
from embedge.command.verify import verify
from embedge_export import export, pipeline
from embedge_export.checkpoint.recipe import Floor
from embedge_export.data import read_lines
from embedge_export.int8.mend_rows import int8_linear_layers
from embedge_export.int8.mend_shares import error_shares
from embedge_export.kept import kept_folder
from embedge_export.verify import floors, mend
from embedge_export.verify.passages import documents
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]
SIZES: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "num_hidden_layers": 4}
TOO_HIGH = Floor(0.9999999, 0.9999999)


def quality_of(bundle: Bundle) -> Quality:
    quality = bundle.manifest.precisions["int8"].quality
    assert quality is not None
    return quality


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint: MakeCheckpoint) -> Path:
    return make_checkpoint(config=SIZES)


@pytest.fixture(scope="module")
def plain(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle with its usual floor, which it reaches."""
    return export(checkpoint, tmp_path_factory.mktemp("plain") / "b")


@pytest.fixture
def floor(monkeypatch: pytest.MonkeyPatch) -> Callable[[Floor], None]:
    """Sets the floor of int8."""
    return lambda floor: monkeypatch.setattr(floors, "FLOORS", {**floors.FLOORS, "int8": floor})


@pytest.fixture
def half(plain: Bundle, floor: Callable[[Floor], None]) -> Floor:
    """A floor that asks for 0.95 of the error that the plain graph has on average."""
    wanted = Floor(1 - 0.95 * (1 - quality_of(plain).cosine_mean), 0.9)
    floor(wanted)
    return wanted


def test_a_graph_below_its_floor_is_mended(
    plain: Bundle, checkpoint: Path, tmp_path: Path, half: Floor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "embedge")
    bundle = export(checkpoint, tmp_path / "b")
    record, before = bundle.manifest.precisions["int8"], quality_of(plain)
    assert quality_of(bundle).cosine_mean >= half.mean
    assert record.mended is not None
    assert (record.mended.cosine_mean, record.mended.cosine_min) == (before.cosine_mean, before.cosine_min)
    assert record.below_floor == ()
    layers = int8_linear_layers(onnx.load(plain.graph("int8"), load_external_data=False))
    assert 0 < len(record.mended.fine_rows) < len(layers)
    assert set(record.mended.fine_rows) <= set(layers)
    assert record.fused is None
    (line,) = [line for line in caplog.messages if line.startswith("mend ")]
    assert f"rows of 16 bits in {len(record.mended.fine_rows)} linear layers: cosine" in line
    assert "no fused graph: " in line
    assert Bundle.open(bundle.path).manifest == bundle.manifest
    bundle.check()


def test_the_weights_of_a_mended_graph_are_the_same(
    plain: Bundle, checkpoint: Path, tmp_path: Path, half: Floor
) -> None:
    bundle = export(checkpoint, tmp_path / "b")
    record = bundle.manifest.precisions["int8"]
    assert record.mended is not None
    names = [f"{record.file}_data", record.file]
    weights, graph = (bundle.manifest.files[name] for name in names)
    assert weights == plain.manifest.files[names[0]]
    assert record.mended.added == graph.size - plain.manifest.files[names[1]].size


def test_a_mended_graph_does_not_depend_on_the_batch(checkpoint: Path, tmp_path: Path, half: Floor) -> None:
    bundle = export(checkpoint, tmp_path / "b")
    assert quality_of(bundle).batch_difference == 0
    texts = [*documents()[:20], *documents()[:20]]
    alone = [Embedder(bundle.path, threads=1).encode(text, on_truncate="ignore") for text in texts]
    for batch_tokens in (30, 4000):
        found = Embedder(bundle.path).encode(texts, batch_tokens=batch_tokens, on_truncate="ignore")
        assert np.array_equal(found, alone)


def test_the_shares_are_those_of_the_reduced_error(plain: Bundle, tmp_path: Path) -> None:
    """They are positive, and the files beside the graph are as before."""
    before = sorted(plain.path.rglob("*"))
    ids = np.random.default_rng(0).integers(5, 60, (4, 12))
    shares = error_shares(plain.graph("int8"), [ids])
    assert list(shares) == int8_linear_layers(onnx.load(plain.graph("int8"), load_external_data=False))
    assert min(shares.values()) > 0
    assert sum(shares.values()) < 0.01
    assert sorted(plain.path.rglob("*")) == before


def test_a_reranker_is_mended_by_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "RERANK_FLOORS", {"int8": Floor(0.99999, 0.99)})
    checkpoint = write_roberta(tmp_path / "c", rerank=True)
    bundle = export(checkpoint, tmp_path / "b", accept_quality=True)
    record = bundle.manifest.precisions["int8"]
    assert record.mended is not None
    assert quality_of(bundle).cosine_mean > record.mended.cosine_mean


@pytest.mark.parametrize(
    ("mean", "minimum", "expected"),
    [(0.998, 0.99, 0.55), (0.99, 0.9, 0.955), (float("nan"), 0.9, 1.0)],
)
def test_the_worst_figure_says_how_much_has_to_go(mean: float, minimum: float, expected: float) -> None:
    """With floors 0.999 and 0.995, and a margin of a tenth."""
    miss = BelowFloor(output="vectors", mean=mean, minimum=minimum, floor_mean=0.999, floor_minimum=0.995)
    assert mend._fraction([miss]) == pytest.approx(expected)


def below(checkpoint: Path, folder: Path, floor: Callable[[Floor], None], **options: Any) -> str:
    """Export with a floor that nothing reaches; return the error."""
    floor(TOO_HIGH)
    with pytest.raises(QualityError) as seen:
        export(checkpoint, folder, **options)
    return str(seen.value)


def test_what_is_below_its_floor_is_kept_and_taken_by_the_named_command(
    checkpoint: Path, tmp_path: Path, floor: Callable[[Floor], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is computed again."""
    message = below(checkpoint, tmp_path / "b", floor)
    kept = kept_folder(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert str(kept) in message
    command = message.split("`")[1]
    assert command == shlex.join(["embedge", "export", str(checkpoint), "-o", str(tmp_path / "b"), "--accept-quality"])
    monkeypatch.setattr(pipeline, "convert", None)  # it would fail
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    assert not kept.exists()
    bundle = Bundle.open(tmp_path / "b")
    bundle.check()
    (miss,) = bundle.manifest.precisions["int8"].below_floor
    found = quality_of(bundle)
    assert (miss.output, miss.mean, miss.minimum) == ("vectors", found.cosine_mean, found.cosine_min)
    assert (miss.floor_mean, miss.floor_minimum) == (TOO_HIGH.mean, TOO_HIGH.minimum)


def test_a_kept_bundle_of_other_options_is_not_taken(
    checkpoint: Path, tmp_path: Path, floor: Callable[[Floor], None]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(read_lines("calibration.txt")[:60]), encoding="utf-8")
    below(checkpoint, tmp_path / "b", floor)
    bundle = export(checkpoint, tmp_path / "b", calibration=texts, accept_quality=True)
    calibration = bundle.manifest.precisions["int8"].calibration
    assert calibration is not None
    assert calibration.file == "texts.txt"
    assert not kept_folder(tmp_path / "b").exists()


def test_a_damaged_kept_bundle_is_not_taken(checkpoint: Path, tmp_path: Path, floor: Callable[[Floor], None]) -> None:
    below(checkpoint, tmp_path / "b", floor)
    weights = kept_folder(tmp_path / "b") / "onnx/model_int8.onnx_data"
    weights.write_bytes(bytes(weights.stat().st_size))
    export(checkpoint, tmp_path / "b", accept_quality=True).check()


def test_an_existing_bundle_stays_and_its_precisions_are_in_the_taken_one(
    checkpoint: Path, tmp_path: Path, floor: Callable[[Floor], None]
) -> None:
    export(checkpoint, tmp_path / "b", precisions=("fp32",))
    (tmp_path / "b" / "notes.txt").write_text("mine")
    message = below(checkpoint, tmp_path / "b", floor)
    assert set(Bundle.open(tmp_path / "b").manifest.precisions) == {"fp32"}
    assert "`embedge export" in message
    bundle = export(checkpoint, tmp_path / "b", accept_quality=True)
    assert set(bundle.manifest.precisions) == {"fp32", "int8"}
    assert (tmp_path / "b" / "notes.txt").read_text() == "mine"
    assert not kept_folder(tmp_path / "b").exists()


def test_a_later_export_deletes_what_was_kept(checkpoint: Path, tmp_path: Path, floor: Callable[[Floor], None]) -> None:
    below(checkpoint, tmp_path / "b", floor)
    floor(Floor(0.9, 0.9))
    export(checkpoint, tmp_path / "b")
    assert not kept_folder(tmp_path / "b").exists()


def test_verify_and_info_say_what_was_accepted(
    checkpoint: Path, floor: Callable[[Floor], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Verify does not fail, unless the quality is worse than what was accepted."""
    monkeypatch.setenv("EMBEDGE_HOME", str(tmp_path / "home"))
    floor(TOO_HIGH)
    bundle = export(checkpoint, accept_quality=True)
    arguments = [str(bundle.path), "--checkpoint", str(checkpoint)]
    done = CliRunner().invoke(verify, arguments)
    assert done.exit_code == 0, done.output
    assert "int8: below its floor, 0.9999999 mean and 0.9999999 min, and accepted at the export" in done.output
    assert "int8 (below its quality floor, accepted)" in CliRunner().invoke(info).output
    path = bundle.path / "embedge.json"
    lower_the_accepted_figures(path)
    done = CliRunner().invoke(verify, arguments)
    assert isinstance(done.exception, QualityError)


def lower_the_accepted_figures(path: Path) -> None:
    """Make the manifest say that a better quality was accepted, so that the measured one is worse."""
    from manifests import change

    def edit(manifest: dict[str, Any]) -> None:
        for miss in manifest["precisions"]["int8"]["below_floor"]:
            miss["mean"] = miss["minimum"] = 1.0

    change(path.parent, edit)
    assert json.loads(path.read_text())["precisions"]["int8"]["below_floor"][0]["mean"] == 1.0


def test_accepting_what_nobody_measures_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--no-verify measures nothing"):
        export(checkpoint, tmp_path / "b", verify=False, accept_quality=True)


def test_a_good_graph_is_neither_mended_nor_accepted(plain: Bundle, checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(checkpoint, tmp_path / "b", accept_quality=True)
    assert bundle.manifest.precisions == plain.manifest.precisions
