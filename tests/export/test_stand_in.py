"""tests/tiny_bundle: the stand-in for `tiny_bundle`, where onnx is not installed, is what the exporter writes today."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, Manifest, Precision

STAND_IN = Path(__file__).parent.parent / "tiny_bundle"
TEXTS = ["the cat sat on the mat", "how do i bake bread ?", "東京", ""]


def of_any_version(manifest: Manifest) -> dict[str, Any]:
    """The fields of a manifest that no version of a package changes: of files and graphs their names alone."""
    fields = asdict(manifest) | {"source": None}
    return fields | {name: sorted(fields[name]) for name in ("files", "precisions")}


def test_the_manifest_is_the_same(tiny_bundle: Bundle) -> None:
    stand_in = Bundle.open(STAND_IN)
    remedy = f"replace {STAND_IN} by a copy of {tiny_bundle.path}"
    assert of_any_version(stand_in.manifest) == of_any_version(tiny_bundle.manifest), remedy


def test_the_config_is_the_same(tiny_bundle: Bundle) -> None:
    remedy = f"replace {STAND_IN} by a copy of {tiny_bundle.path}"
    assert (STAND_IN / "config.json").read_bytes() == (tiny_bundle.path / "config.json").read_bytes(), remedy


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("int8", 0.999)])
def test_the_vectors_are_the_same(tiny_bundle: Bundle, precision: Precision, least: float) -> None:
    stand_in, exported = (Embedder(path, precision=precision) for path in (STAND_IN, tiny_bundle.path))
    cosines = np.sum(stand_in.encode(TEXTS) * exported.encode(TEXTS), axis=1)
    assert cosines.min() >= least, f"replace {STAND_IN} by a copy of {tiny_bundle.path}"
