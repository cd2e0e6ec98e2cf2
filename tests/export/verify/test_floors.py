"""floors.py: which reports fail, and the command that the error names."""

from dataclasses import replace
from math import nan
from typing import Any

import pytest

from embedge import Bundle, QualityError
from embedge.bundle.manifest import Calibration, Manifest, Precision, PrecisionRecord, Quality
from embedge_export.verify.floors import check_floors

GOOD = Quality(reference="fp32 graph", texts=2, cosine_mean=1, cosine_min=1, batch_difference=0)
OWN = Calibration(file="own.txt", texts=40, sha256="0" * 64)


@pytest.fixture
def manifest(tiny_bundle: Bundle) -> Manifest:
    """A manifest as an export has it before it verifies: no precision has a quality."""
    records = {
        name: replace(record, quality=None, exporter="native")
        for name, record in tiny_bundle.manifest.precisions.items()
    }
    return replace(tiny_bundle.manifest, precisions=records)


@pytest.mark.parametrize("figure", ["cosine_mean", "cosine_min"])
@pytest.mark.parametrize("value", [nan, 0.9])
def test_a_figure_below_its_floor_fails(manifest: Manifest, figure: str, value: float) -> None:
    check_floors(manifest, "fp32", GOOD)
    changed: dict[str, Any] = {figure: value}
    with pytest.raises(QualityError, match="the floor is 0.999999 and 0.99999"):
        check_floors(manifest, "fp32", replace(GOOD, **changed))


@pytest.mark.parametrize("output", ["lexical", "multi_vector"])
def test_a_token_output_below_its_floor_fails(manifest: Manifest, output: str) -> None:
    low: dict[str, Any] = {f"{output}_mean": 0.9, f"{output}_min": 0.8}
    with pytest.raises(QualityError, match="agree with those of fp32 graph by 0.90000 on average and 0.80000 at worst"):
        check_floors(manifest, "fp32", replace(GOOD, **low))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_native_graph_that_changes_with_the_batch_fails(manifest: Manifest, precision: Precision) -> None:
    worse = replace(GOOD, batch_difference=1e-7)
    with pytest.raises(QualityError, match=r"changes by 1\.0e-07 with the other texts in its batch"):
        check_floors(manifest, precision, worse)
    records: dict[str, PrecisionRecord] = {precision: replace(manifest.precisions[precision], exporter="optimum")}
    check_floors(replace(manifest, precisions=records), precision, worse)


@pytest.mark.parametrize(
    ("precision", "change", "command"),
    [
        ("fp32", {}, "run `embedge export` with --precision fp32"),
        ("int8", {"exporter": "optimum"}, "run `embedge export` with --precision fp32"),
        ("int8", {"quality": GOOD}, "run `embedge export` with --force, or with --precision fp32"),
        ("int8", {"calibration": None}, "run `embedge export` with --force, or with --precision fp32"),
        ("int8", {"calibration": OWN}, "run `embedge export` without --calibration, with more kinds of texts, or with"),
        ("int8", {}, "run `embedge export` with --calibration FILE and texts like yours, or with --precision fp32"),
    ],
)
def test_the_error_names_the_command_to_run(
    manifest: Manifest, precision: Precision, change: dict[str, Any], command: str
) -> None:
    records: dict[str, PrecisionRecord] = {precision: replace(manifest.precisions[precision], **change)}
    with pytest.raises(QualityError) as seen:
        check_floors(replace(manifest, precisions=records), precision, replace(GOOD, cosine_min=0.5))
    assert str(seen.value).partition("; ")[2].startswith(command)
