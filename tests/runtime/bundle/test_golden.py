"""Bundles of format 1, as earlier versions wrote them, stay loadable. tests/golden/format-1/README.md describes them.

Needs neither onnx nor torch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from embedge import Bundle, Embedder, Precision
from embedge.bundle.copy import copy_bundle
from embedge.command.main import cli
from embedge.hub.pull import pull

FOLDER = Path(__file__).parents[2] / "golden" / "format-1"
RELEASE, BEFORE = FOLDER / "release-0.1.0", FOLDER / "before-0.1.0"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
# Members of a manifest that came later than the first version of format 1.
LATER = ("crc32", "task", "truncation_side", "similarity", "normalize", "sparse", "multi_vector")


def expected(precision: Precision) -> Any:
    """The stored vectors of the queries, then those of the documents, float32 [10, 16]."""
    kinds = EXPECTED[precision]
    return np.array([*kinds["queries"], *kinds["documents"]], dtype=np.float32)


def vectors(folder: Path, precision: Precision) -> Any:
    model = Embedder(folder, precision=precision)
    texts = EXPECTED["texts"]
    queries = model.encode_query(texts, on_truncate="ignore")
    return np.concatenate([queries, model.encode_document(texts, on_truncate="ignore")])


def cosines(left: Any, right: Any) -> Any:
    return (left * right).sum(axis=1)  # the vectors have length 1


@pytest.mark.parametrize("folder", [RELEASE, BEFORE], ids=lambda folder: folder.name)
def test_every_file_has_the_recorded_hash(folder: Path) -> None:
    bundle = Bundle.open(folder)
    bundle.check()
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {*bundle.manifest.files, "embedge.json"}


@pytest.mark.parametrize("folder", [RELEASE, BEFORE], ids=lambda folder: folder.name)
def test_fp32_gives_the_stored_vectors(folder: Path) -> None:
    np.testing.assert_allclose(vectors(folder, "fp32"), expected("fp32"), rtol=0, atol=1e-5)


def test_int8_gives_the_stored_vectors() -> None:
    assert cosines(vectors(RELEASE, "int8"), expected("int8")).min() >= 0.9999


def test_the_oldest_int8_gives_nearly_the_stored_vectors() -> None:
    assert cosines(vectors(BEFORE, "int8"), expected("fp32")).min() >= 0.98


def test_the_stored_vectors_tell_the_texts_apart() -> None:
    documents = expected("int8")[len(EXPECTED["texts"]) :]
    assert np.triu(documents @ documents.T, 1).max() < 0.9999


def test_the_oldest_manifest_gets_the_defaults_of_later_members() -> None:
    text = (BEFORE / "embedge.json").read_text(encoding="utf-8")
    assert not {*LATER} & json.loads(text).keys()
    assert "crc32" not in text
    manifest = Bundle.open(BEFORE).manifest
    assert (manifest.task, manifest.truncation_side, manifest.similarity) == ("embed", "right", "cosine")
    assert (manifest.normalize, manifest.sparse, manifest.multi_vector) == (True, False, False)
    assert all(record.crc32 is None for record in manifest.files.values())


@pytest.mark.parametrize("folder", [RELEASE, BEFORE], ids=lambda folder: folder.name)
def test_pull_checks_a_bundle_at_a_path(folder: Path) -> None:
    assert pull(folder, precisions=("int8", "fp32")) == Bundle.open(folder)


@pytest.mark.parametrize("folder", [RELEASE, BEFORE], ids=lambda folder: folder.name)
def test_a_copy_gives_the_same_vectors(folder: Path, tmp_path: Path) -> None:
    whole = copy_bundle(Bundle.open(folder), tmp_path / "whole")
    small = copy_bundle(Bundle.open(folder), tmp_path / "small", precisions=("int8",))
    whole.check()
    small.check()
    assert list(small.manifest.precisions) == ["int8"]
    assert json.loads((whole.path / "embedge.json").read_text(encoding="utf-8"))["crc32"]
    for copy in (whole, small):
        np.testing.assert_array_equal(vectors(copy.path, "int8"), vectors(folder, "int8"))


@pytest.mark.parametrize("folder", [RELEASE, BEFORE], ids=lambda folder: folder.name)
def test_info_measures_its_footprint(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["info", "--footprint", "-m", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert json.loads(done.stdout)["totals"][str(folder)]["installed"] == size
