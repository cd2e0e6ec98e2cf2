"""A model on a card, shared by threads, pickled and inherited by a forked process."""

import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.measure.metrics import cosines
from embedge import Bundle, Embedder, EmbedgeError


@pytest.fixture
def model(seeded_bundle: Bundle, device: str) -> Embedder:
    return Embedder(seeded_bundle.path, precision="fp16", device=device)


def test_threads_may_share_it(model: Embedder, mixed: list[str]) -> None:
    expected = model.encode(mixed[:600])
    parts = [mixed[start : start + 100] for start in range(0, 600, 100)]
    with ThreadPoolExecutor(2) as threads:
        found = np.concatenate(list(threads.map(model.encode, parts)))
    assert cosines(found, expected).min() >= 0.99999


def test_a_pickle_opens_on_the_same_device(model: Embedder, mixed: list[str]) -> None:
    again = pickle.loads(pickle.dumps(model))
    assert (again.providers, again.precision) == (model.providers, model.precision)
    assert cosines(again.encode(mixed[:50]), model.encode(mixed[:50])).min() >= 0.99999


_FORKED: dict[str, Embedder] = {}  # inherited by the child; an argument would be pickled, and opened again


def _encode_inherited(text: str) -> tuple[str, object]:
    """The vector as a list, or the message of embedge's error."""
    try:
        return "vector", _FORKED["model"].encode(text).tolist()
    except EmbedgeError as error:
        return type(error).__name__, str(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_works_or_says_that_it_cannot(model: Embedder, device: str) -> None:
    """CUDA does not survive a fork. The child must say so in embedge's words, not hang or crash."""
    _FORKED["model"], expected = model, model.encode("the cat")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        kind, found = pool.apply_async(_encode_inherited, ("the cat",)).get(timeout=60)
    if device == "cpu":
        assert (kind, found) == ("vector", expected.tolist())
    else:
        assert kind == "ProviderError"
        assert "fork" in str(found) or "spawn" in str(found)
    assert cosines(model.encode(["the cat"]), expected[None]).min() >= 0.99999  # the parent goes on
