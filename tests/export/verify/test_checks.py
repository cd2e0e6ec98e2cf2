"""Verification by an export and by `embedge verify`: the figures in the report, and what makes it fail."""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle, BundleError, CheckpointError, Embedder, QualityError
from embedge.bundle.manifest import HIDDEN, Precision
from embedge_export import export
from embedge_export.checkpoint.recipe import Floor
from embedge_export.verify import find_reference, floors, measure
from embedge_export.verify.checks import verify_bundle
from embedge_export.verify.padded_batches import token_ids
from embedge_export.verify.reference import Expected, Reference
from manifests import sealed
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]
PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")


def expected_of(bundle: Bundle, precision: Precision) -> Expected:
    """What a graph of the bundle gives, as a reference."""
    ids = token_ids(bundle, measure.texts_of(bundle))
    return Expected("graph", ids, Reference(bundle.graph(precision), "graph").outputs(ids, [HIDDEN]))


def opened(bundle: Bundle, precision: Precision) -> Embedder:
    return Embedder(bundle.path, precision=precision)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often an Embedder is opened, by its precision."""
    counted: Counter[str] = Counter()
    real = Embedder.__init__

    def count(self: Embedder, *arguments: Any, precision: Precision | None = None, **options: Any) -> None:
        counted[str(precision)] += 1
        real(self, *arguments, precision=precision, **options)

    monkeypatch.setattr(Embedder, "__init__", count)
    return counted


@pytest.mark.parametrize("name", ["tiny_bundle", "m3_bundle"])
def test_verify_opens_each_graph_once(
    request: pytest.FixtureRequest, loads: Counter[str], tmp_path: Path, name: str
) -> None:
    """All figures come from the same Embedder: of vectors, and with bge-m3's heads of lexical weights and tokens."""
    bundle: Bundle = request.getfixturevalue(name)
    loads.clear()
    measured = dict(verify_bundle(bundle, checkpoint=None, cache=tmp_path))
    assert measured["int8"] is not None
    assert loads == dict.fromkeys(bundle.manifest.precisions, 1)


def test_an_export_opens_each_graph_twice(m3_checkpoint: Path, loads: Counter[str], tmp_path: Path) -> None:
    """Once to see that what was written loads, and once to verify it."""
    export(m3_checkpoint, tmp_path / "m3", precisions=PRECISIONS)
    assert loads == {"int8": 2, "fp32": 2}


def test_every_graph_is_verified_against_transformers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32", "fp16"))
    for precision, least in (("fp32", 0.99999), ("fp16", 0.9999), ("int8", 0.99)):
        quality = bundle.manifest.precisions[precision].quality
        assert quality is not None
        assert quality.reference.startswith("transformers ")
        assert least < quality.cosine_min <= quality.cosine_mean <= 1.0000001


@pytest.mark.parametrize(("mean", "minimum"), [(0.9999999, 0.5), (0.5, 0.9999999)])
def test_below_the_floor_nothing_is_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean: float, minimum: float
) -> None:
    """Below it on average, or for the worst text."""
    monkeypatch.setattr(floors, "FLOORS", {"int8": Floor(mean, minimum)})
    with pytest.raises(QualityError, match=f"the floor is {mean} and {minimum}"):
        export(tiny_checkpoint, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("reason", ["no extra", "no memory"])
def test_without_transformers_graphs_are_verified_against_numpy(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reason: str,
) -> None:
    """It is not installed, or its model does not fit into memory. The log and the manifest name the reference."""
    if reason == "no extra":
        monkeypatch.setattr(find_reference, "has_optimum_extra", lambda: False)
    else:
        monkeypatch.setattr(find_reference, "available_memory", lambda: 999_999_999)
    caplog.set_level(logging.INFO, "embedge")
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("int8", "fp32"))
    for precision, least in (("fp32", 0.99999), ("int8", 0.99)):
        quality = bundle.manifest.precisions[precision].quality
        assert quality is not None
        assert quality.reference.startswith("the checkpoint's layers by numpy")
        assert quality.cosine_min > least
    assert [line for line in caplog.messages if line.startswith("reference  the checkpoint's layers by numpy")]


def test_a_vector_that_changes_with_its_batch_fails_the_export(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "batch_difference", lambda model, texts: 1e-7)
    with pytest.raises(QualityError, match="changes by 1.0e-07 with the other texts in its batch"):
        export(tiny_checkpoint, tmp_path / "b")


def test_the_report_has_all_figures_of_an_embedder(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The overlap, the first percentile, and a batch difference of exactly 0."""
    quality = export(tiny_checkpoint, tmp_path / "b").manifest.precisions["int8"].quality
    assert quality is not None
    assert quality.cosine_p1 is not None
    assert quality.cosine_min <= quality.cosine_p1 <= quality.cosine_mean
    assert quality.top10_overlap is not None
    assert 0.5 < quality.top10_overlap <= 1
    assert quality.batch_difference == 0.0
    assert quality.texts == 125


def test_verify_measures_again_with_the_checkpoint_or_the_fp32_graph(
    tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    traced = dict(verify_bundle(tiny_bundle, checkpoint=str(tiny_checkpoint), cache=tmp_path))
    assert traced["fp32"] is not None
    assert traced["fp32"].reference.startswith("transformers ")
    own = dict(verify_bundle(tiny_bundle, checkpoint=None, cache=tmp_path))
    assert own["fp32"] is None
    assert own["int8"] is not None
    assert own["int8"].reference == "fp32 graph"


@pytest.mark.parametrize("is_reranker", [False, True])
def test_verify_compares_with_optimums_trace_if_asked(is_reranker: bool, tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = (
        write_roberta(tmp_path / "c", rerank=True, config={"num_attention_heads": 2})
        if is_reranker
        else tiny_checkpoint
    )
    bundle = export(checkpoint, tmp_path / "b", precisions=("fp32",))
    by_trace = dict(verify_bundle(bundle, checkpoint=str(checkpoint), cache=tmp_path, traced=True))["fp32"]
    assert by_trace is not None
    assert by_trace.reference.startswith("optimum-onnx ")
    assert by_trace.cosine_min > 0.999999
    with pytest.raises(CheckpointError, match="--checkpoint DIR"):
        list(verify_bundle(bundle, checkpoint=None, cache=tmp_path, traced=True))


def test_a_pruned_graph_is_compared_on_the_first_token(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Optimum's int8 graph gives all tokens, a native fp32 graph only the first; either may be the reference."""
    export(tiny_checkpoint, tmp_path / "b", exporter="optimum", verify=False)
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    to_pruned = measure.measure(opened(bundle, "int8"), expected_of(bundle, "fp32"))
    to_whole = measure.measure(opened(bundle, "fp32"), expected_of(bundle, "int8"))
    assert to_pruned.max_abs_difference is not None
    assert 0 < to_pruned.max_abs_difference < 0.5
    assert to_whole.max_abs_difference == pytest.approx(to_pruned.max_abs_difference, rel=0.2)


def test_the_report_shows_a_graph_that_is_worse(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Int8 with one scale for a whole batch changes with its batch; a graph compared with itself has no error."""
    export(tiny_checkpoint, tmp_path / "b", exporter="optimum", verify=False)
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=("fp32",), verify=False)
    expected = expected_of(bundle, "fp32")
    rough, same = (measure.measure(opened(bundle, precision), expected) for precision in PRECISIONS)
    assert rough.batch_difference is not None
    assert rough.top10_overlap is not None
    assert rough.cosine_p1 is not None
    assert rough.batch_difference > 1e-5
    assert (same.batch_difference, same.top10_overlap) == (0, 1)
    assert same.max_abs_difference is not None
    assert same.max_abs_difference < 1e-5  # the reference was rewritten by ONNX Runtime
    assert rough.top10_overlap < 1
    assert rough.cosine_min < rough.cosine_p1 < rough.cosine_mean < 1


def test_verify_refuses_another_checkpoint(
    tiny_bundle: Bundle, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="its files differ"):
        list(verify_bundle(tiny_bundle, checkpoint=str(make_checkpoint(seed=5)), cache=tmp_path))


def test_a_graph_without_a_recorded_hash_fails_the_check(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "b"))
    manifest = json.loads((folder / "embedge.json").read_text())
    del manifest["files"]["onnx/model.onnx"]
    (folder / "embedge.json").write_text(sealed(manifest))
    with pytest.raises(BundleError, match="has no hash"):
        Bundle.open(folder).check()
