"""Vectors on a card, compared with those of the CPU: fp16 and fp32, each pooling, and batches that are padded."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.data.datasets import read_pairs
from benchmarks.measure.metrics import cosines, spearman
from embedge import Bundle, Embedder
from embedge.bundle.manifest import Precision

Vectors = NDArray[np.float32]
# The smallest cosine to fp32 on the CPU. TF32, which fp32 must not use, has 0.999997.
LEAST: dict[Precision, float] = {"fp16": 0.99999, "fp32": 0.9999998}
PUBLISHED_SPEARMAN = 82.03  # all-MiniLM-L6-v2 on STS-B's test split; the recipe has the source


@pytest.fixture(scope="session", params=["fp16", "fp32"])
def precision(request: pytest.FixtureRequest) -> Precision:
    name: Precision = request.param
    return name


def on_cpu(bundle: Bundle, texts: list[str]) -> Vectors:
    """The vectors that all others are compared with: fp32 on the CPU, where no batch is padded."""
    vectors: Vectors = Embedder(bundle.path, precision="fp32", device="cpu").encode(texts)
    return vectors


def test_real_weights_have_the_vectors_of_fp32_on_the_cpu(
    minilm_halves: Bundle, data: Path, device: str, precision: Precision
) -> None:
    sentences = list(read_pairs(data).sentences)
    vectors = Embedder(minilm_halves.path, precision=precision, device=device).encode(sentences)
    assert vectors.dtype == np.float32
    assert cosines(vectors, on_cpu(minilm_halves, sentences)).min() >= LEAST[precision]


def test_sts_b_is_the_published_figure(minilm_halves: Bundle, data: Path, device: str, precision: Precision) -> None:
    model, pairs = Embedder(minilm_halves.path, precision=precision, device=device), read_pairs(data)
    first, second = (model.encode(texts) for texts in (pairs.first, pairs.second))
    assert 100 * spearman(cosines(first, second), pairs.scores) == pytest.approx(PUBLISHED_SPEARMAN, abs=0.05)


def test_every_pooling_has_the_vectors_of_the_cpu(
    pooled_bundle: Bundle, mixed: list[str], device: str, precision: Precision
) -> None:
    """With padding read, mean pooling has a median cosine of 0.98, last-token pooling of 0.3, an open mask of 0.998."""
    found = Embedder(pooled_bundle.path, precision=precision, device=device).encode(mixed[:400])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert cosines(found, on_cpu(pooled_bundle, mixed[:400])).min() >= LEAST[precision]


def test_a_text_has_the_same_vector_alone_and_in_a_batch(
    pooled_bundle: Bundle, mixed: list[str], device: str, precision: Precision
) -> None:
    model, texts = Embedder(pooled_bundle.path, precision=precision, device=device), mixed[:60]
    alone = np.stack([model.encode(text) for text in texts])
    assert cosines(model.encode(texts), alone).min() >= 0.99999
    assert cosines(model.encode(texts, batch_size=7), alone).min() >= 0.99999
    assert cosines(model.encode(texts, batch_tokens=300), alone).min() >= 0.99999


def test_real_weights_have_the_same_vector_alone_and_in_a_batch(
    minilm_halves: Bundle, data: Path, device: str, precision: Precision
) -> None:
    model = Embedder(minilm_halves.path, precision=precision, device=device)
    sentences = list(read_pairs(data).sentences[::50])
    alone = np.stack([model.encode(sentence) for sentence in sentences])
    assert cosines(model.encode(sentences), alone).min() >= 0.99999


def test_vectors_are_in_the_order_of_the_texts(
    seeded_bundle: Bundle, mixed: list[str], device: str, precision: Precision
) -> None:
    found, expected = (
        Embedder(seeded_bundle.path, precision=precision, device=device).encode(mixed),
        on_cpu(seeded_bundle, mixed),
    )
    assert cosines(found, expected).min() >= 0.99999
    # The vectors of other texts are farther away, so that a wrong order would show.
    assert np.median(cosines(found, np.roll(expected, 1, axis=0))) < 0.999


def test_a_stream_has_the_vectors_of_encode(seeded_bundle: Bundle, mixed: list[str], device: str) -> None:
    model = Embedder(seeded_bundle.path, precision="fp16", device=device)
    expected = model.encode(mixed[:700])
    for window in (1, 64, 1024):
        count = 40 if window == 1 else 700
        found = np.stack(list(model.stream(iter(mixed[:count]), window=window)))
        assert cosines(found, expected[:count]).min() >= 0.99999


def test_a_text_of_the_greatest_length_and_an_empty_one(seeded_bundle: Bundle, mixed: list[str], device: str) -> None:
    """Padding to a multiple must not go beyond the positions that the model has."""
    longest = " ".join(["stone"] * 510)
    texts = ["", longest, *mixed[:5], " ".join(["river"] * 509)]
    found = Embedder(seeded_bundle.path, precision="fp16", device=device).encode(texts, on_truncate="error")
    assert cosines(found, on_cpu(seeded_bundle, texts)).min() >= LEAST["fp16"]


def test_no_texts_have_no_vectors(seeded_bundle: Bundle, device: str) -> None:
    assert Embedder(seeded_bundle.path, precision="fp16", device=device).encode([]).shape == (0, 128)
