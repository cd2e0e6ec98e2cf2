"""schedule.py: what a GPU runs, here on the CPU, against the CPU's own way."""

from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, BundleError, Embedder, InputTypeError, InputValueError, Reranker, TruncationWarning
from embedge.inference.device import pipeline
from embedge.inference.device.schedule import DeviceSchedule
from embedge.inference.token_batch import TokenBatch
from embedge.model import Model

TEXTS = ["the cat sat", "a dog", "the river ran far away over the blue stone", "bread", "how do i bake bread ?"] * 9
MakeCheckpoint = Callable[..., Path]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few texts are several chunks."""
    monkeypatch.setattr(pipeline, "_FIRST_CHARACTERS", 60)
    monkeypatch.setattr(pipeline, "_CHARACTERS", 120)
    assert len(list(pipeline.chunk_by_characters(list(map(len, TEXTS))))) > 5


def schedule_of(model: Model) -> DeviceSchedule:
    return DeviceSchedule(model.max_tokens)


def as_on_a_gpu(model: Any) -> Any:
    """The model, with the schedule of a GPU."""
    model._engine.schedule = schedule_of(model)
    return model


@pytest.fixture(params=["cls", "mean", "last"])
def pooled(request: pytest.FixtureRequest, make_checkpoint: MakeCheckpoint, export: Callable[..., Bundle]) -> Path:
    checkpoint = make_checkpoint(pooling=request.param)
    return export(checkpoint, checkpoint.parent / "bundle", precisions=["fp32"], verify=False).path


def test_vectors_are_those_of_the_cpus_schedule(pooled: Path) -> None:
    """Nearly: sums have another order."""
    plain, padded = Embedder(pooled), as_on_a_gpu(Embedder(pooled))
    expected = plain.encode(TEXTS)
    assert np.abs(padded.encode(TEXTS) - expected).max() < 1e-5
    assert np.abs(padded.encode(TEXTS, batch_size=1) - expected).max() < 1e-5
    assert np.abs(np.stack(list(padded.stream(iter(TEXTS), window=7))) - expected).max() < 1e-5
    assert padded.encode([]).shape == (0, plain.dimension)


def test_batches_are_padded(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else these tests would show nothing."""
    model = as_on_a_gpu(Embedder(tiny_bundle.path))
    session = model._engine.workers._one_thread[0]
    padded: list[bool] = []
    run = session.run_outputs

    def note(batch: TokenBatch, outputs: Any) -> Any:
        padded.append(batch.counts is not None)
        return run(batch, outputs)

    monkeypatch.setattr(session, "run_outputs", note)
    monkeypatch.setattr(model._engine.workers, "run", lambda plan, run_batch: [run_batch(session, b) for b in plan])
    model.encode(TEXTS)
    assert any(padded)
    assert len(padded) < len(TEXTS) / 2


def test_long_texts_are_told_once(tiny_bundle: Bundle) -> None:
    model = as_on_a_gpu(Embedder(tiny_bundle.path))
    long = "the cat sat on the mat " * 40
    with pytest.warns(TruncationWarning, match=r"2 of 92 texts are longer .*the first is text 1\)"):
        model.encode(["a", long, *TEXTS, *TEXTS[1:], long])
    with pytest.raises(InputValueError, match="longer than"):
        model.encode([*TEXTS, long], on_truncate="error")


def test_errors_name_the_text_in_the_whole_input(tiny_bundle: Bundle) -> None:
    model = as_on_a_gpu(Embedder(tiny_bundle.path))
    with pytest.raises(InputValueError, match="text 45 is not valid Unicode"):
        model.encode([*TEXTS, "\ud800"])
    with pytest.raises(InputTypeError, match="text 45 must be a string"):
        list(model.stream([*TEXTS, None], window=5))


def test_a_stream_gives_what_comes_before_an_error(tiny_bundle: Bundle) -> None:
    model = as_on_a_gpu(Embedder(tiny_bundle.path))

    def texts() -> Iterator[str]:
        yield from TEXTS[:10]
        raise KeyError

    stream = model.stream(texts(), window=5)
    assert len([next(stream) for _ in range(10)]) == 10
    with pytest.raises(KeyError):
        next(stream)


def test_no_thread_outlives_a_call_that_fails(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while the caller holds the error, whose traceback holds all frames of the call."""
    model, running = as_on_a_gpu(Embedder(tiny_bundle.path)), 0
    tokenise = model._engine.tokeniser.encode

    def slow(*arguments: Any, **options: Any) -> Any:
        nonlocal running
        running += 1
        sleep(0.05)
        tokens = tokenise(*arguments, **options)
        running -= 1
        return tokens

    def fail(*_: object) -> None:
        raise BundleError("the card fell off the bus")

    monkeypatch.setattr(model._engine.tokeniser, "encode", slow)
    monkeypatch.setattr(model._engine.workers, "run", fail)
    for call in (lambda: model.encode(TEXTS), lambda: list(model.stream(TEXTS, window=5))):
        with pytest.raises(BundleError) as held:
            call()
        assert running == 0, held


def test_a_stream_reads_a_bounded_number_of_windows_ahead(tiny_bundle: Bundle) -> None:
    model = as_on_a_gpu(Embedder(tiny_bundle.path))
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for text in TEXTS:
            read += 1
            yield text

    stream = model.stream(texts(), window=5)
    next(stream)
    assert read <= 15
    stream.close()


def test_pairs_have_the_scores_of_the_cpus_schedule(export: Callable[..., Bundle], tmp_path: Path) -> None:
    """RoBERTa counts the positions of tokens that are not its padding, and these batches are padded with another id."""
    from seeded_roberta import write_roberta

    checkpoint = write_roberta(tmp_path / "checkpoint", rerank=True)
    path = export(checkpoint, tmp_path / "bundle", precisions=["fp32"], verify=False).path
    pairs = [(query, text) for query in ("bread ?", "a cat") for text in TEXTS]
    expected = Reranker(path, precision="fp32").score(pairs)
    assert np.abs(as_on_a_gpu(Reranker(path, precision="fp32")).score(pairs) - expected).max() < 1e-5


def test_sparse_and_multi_vectors_have_nothing_of_padding(export: Callable[..., Bundle], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the heads of the checkpoint are written with torch")
    from seeded_roberta import write_roberta

    checkpoint = write_roberta(tmp_path / "checkpoint", rerank=False)
    path = export(checkpoint, tmp_path / "bundle", precisions=["fp32"], verify=False).path
    plain, padded = Embedder(path), as_on_a_gpu(Embedder(path))
    for expected, got in zip(plain.encode_multi_vector(TEXTS), padded.encode_multi_vector(TEXTS), strict=True):
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() < 1e-5
    for first, second in zip(plain.encode_sparse(TEXTS), padded.encode_sparse(TEXTS), strict=True):
        assert np.array_equal(first.indices, second.indices)
        assert np.abs(first.values - second.values).max() < 1e-5
    everything, dense = padded.encode_all(TEXTS, multi_vector=True), padded.encode(TEXTS)
    assert np.array_equal(everything.dense, dense)  # padded the same
    for one, weights, vectors in zip(
        everything, padded.encode_sparse(TEXTS), padded.encode_multi_vector(TEXTS), strict=True
    ):
        assert one.sparse is not None
        assert one.sparse.as_dict() == weights.as_dict()
        assert np.array_equal(one.multi_vector, vectors)
