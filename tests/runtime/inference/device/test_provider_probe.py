"""provider_probe.py: a provider that computes other values than the CPU is an error at load."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, BundleError, Embedder, ProviderError
from embedge.bundle.manifest import BATCH, HIDDEN, READ_TOKENS, SCORES, TOKEN_WEIGHTS, TOKENS, Shape
from embedge.inference.device.provider_probe import compare_with_cpu
from embedge.inference.providers import CPU, CPU_ONLY
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch

NAME = "SomeExecutionProvider"
WIDTH = 3
Run = Callable[[TokenBatch], NDArray[np.float32]]


class Fake:
    """A session that computes what a function returns."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.batches: list[TokenBatch] = []

    def run(self, batch: TokenBatch, output: str) -> NDArray[np.float32]:
        self.batches.append(batch)
        return self._run(batch)


def hidden(batch: TokenBatch) -> NDArray[np.float32]:
    """A row of each token: its id, its position and 1."""
    rows, tokens = batch.ids.shape
    places = np.broadcast_to(np.arange(tokens), (rows, tokens))
    return np.stack([batch.ids, places, np.ones_like(places)], axis=-1).astype(np.float32)


def compare(found: Run, expected: Run, shape: Shape = (BATCH, TOKENS, WIDTH), name: str = HIDDEN) -> Fake:
    session, on_cpu = Fake(found), Fake(expected)
    compare_with_cpu(
        cast("Session", session),
        cast("Session", on_cpu),
        {name: shape},
        provider=NAME,
        graph=Path("model.onnx"),
        max_tokens=512,
    )
    return session


def test_a_batch_without_padding_and_a_padded_one_are_compared() -> None:
    first, second = compare(hidden, hidden).batches
    assert first.mask.all()
    assert second.mask.sum(axis=1).tolist() == [20, 10]


def test_what_the_provider_gives_for_padding_does_not_matter() -> None:
    compare(lambda batch: np.where(batch.mask[..., None] == 1, hidden(batch), np.float32(np.nan)), hidden)


@pytest.mark.parametrize("factor", [0, -1, np.nan])
def test_other_values_are_an_error(factor: float) -> None:
    with pytest.raises(ProviderError, match=rf"{NAME} computes {HIDDEN} of model.onnx wrong: .*cosine .* is .*remove"):
        compare(lambda batch: hidden(batch) * np.float32(factor), hidden)


def test_a_padded_batch_with_other_values_is_an_error() -> None:
    """As if the provider ignored the mask."""
    with pytest.raises(ProviderError, match="wrong"):
        compare(lambda batch: hidden(batch)[:, ::-1] if batch.counts is not None else hidden(batch), hidden)


def test_rounding_is_no_error() -> None:
    compare(lambda batch: hidden(batch).astype(np.float16).astype(np.float32) * np.float32(1.001), hidden)


def test_outputs_of_texts_are_compared_whole() -> None:
    """A reranker's scores, and the hidden states of the first token alone."""
    scores: Run = lambda batch: batch.ids[:, :1].astype(np.float32)  # noqa: E731
    first: Run = lambda batch: hidden(batch)[:, :1]  # noqa: E731
    compare(scores, scores, (BATCH, 1), SCORES)
    compare(first, first, (BATCH, READ_TOKENS, WIDTH))
    with pytest.raises(ProviderError, match="logits of model.onnx wrong"):
        compare(lambda batch: -scores(batch), scores, (BATCH, 1), SCORES)


def test_weights_that_are_all_zero_are_equal() -> None:
    zeros: Run = lambda batch: np.zeros(batch.ids.shape, np.float32)  # noqa: E731
    compare(zeros, zeros, (BATCH, TOKENS), TOKEN_WEIGHTS)


def test_a_batch_that_fails_is_an_error_with_the_reason() -> None:
    """WebGPU's MultiHeadAttention has no mask."""

    def run(batch: TokenBatch) -> NDArray[np.float32]:
        if batch.counts is not None:
            raise BundleError("failed") from RuntimeError(
                "at a Status Message: input `key_padding_mask` not implemented"
            )
        return hidden(batch)

    with pytest.raises(
        ProviderError, match=rf"{NAME} fails on a padded batch of model.onnx \(input `key_padding_mask` not impl.*\); r"
    ):
        compare(run, hidden)


@pytest.mark.parametrize("max_tokens", [1, 2, 64])
def test_real_sessions_of_one_graph_are_alike(tiny_bundle: Bundle, max_tokens: int) -> None:
    real = real_session(tiny_bundle)
    outputs = tiny_bundle.manifest.outputs
    compare_with_cpu(real, real, outputs, provider=NAME, graph=Path("model.onnx"), max_tokens=max_tokens)


def test_a_real_session_on_other_tokens_is_not(tiny_bundle: Bundle) -> None:
    real = real_session(tiny_bundle)
    with pytest.raises(ProviderError, match=r"cosine to the CPU's is 0\."):
        compare(
            lambda batch: real.run(TokenBatch(batch.members, batch.ids + 1, batch.counts), HIDDEN),
            lambda batch: real.run(batch, HIDDEN),
        )


def real_session(bundle: Bundle) -> Session:
    outputs = bundle.manifest.outputs
    return Session(bundle.graph("fp32"), threads=1, providers=CPU_ONLY, outputs=outputs, run_as_is=True)


def test_a_load_with_another_provider_is_compared(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the other provider is the CPU's, under another name: it opens the graph everywhere."""
    monkeypatch.setattr("embedge.inference.load.CPU", NAME)
    assert Embedder(tiny_bundle.path, precision="fp32").encode("the cat").shape == (32,)
    monkeypatch.setattr("embedge.inference.device.provider_probe._LEAST_COSINE", 1.5)
    with pytest.raises(ProviderError, match=r"model\.onnx wrong: its cosine to the CPU's is 1\.0"):
        Embedder(tiny_bundle.path, precision="fp32")


def test_a_load_on_the_cpu_or_with_cuda_is_not_compared(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedge.inference.device.provider_probe._LEAST_COSINE", 1.5)
    Embedder(tiny_bundle.path, precision="fp32")
    monkeypatch.setattr("embedge.inference.load.CPU", NAME)
    monkeypatch.setattr("embedge.inference.load.CUDA", CPU)
    Embedder(tiny_bundle.path, precision="fp32")
