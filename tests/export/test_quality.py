"""quality.py: what an export and `embedge verify` measure a bundle by, and what fails them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Bundle, BundleError, CheckpointError, QualityError
from embedge_export import convert, export
from embedge_export.checkpoint.recipe import Floor
from embedge_export.verify import measure
from embedge_export.verify import quality as verify
from embedge_export.verify.quality import reverify
from embedge_export.verify.reference import Reference
from manifests import sealed

MakeCheckpoint = Callable[..., Path]


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


def test_verify_wants_a_hash_of_every_graph(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "b"))
    manifest = json.loads((folder / "embedge.json").read_text())
    del manifest["files"]["onnx/model.onnx"]
    (folder / "embedge.json").write_text(sealed(manifest))
    with pytest.raises(BundleError, match="records no hash"):
        Bundle.open(folder).check()
