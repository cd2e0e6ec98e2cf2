"""Measure how far the results of an opened graph are from a reference's: the quality report of a bundle.

The texts are ones that int8 was not calibrated on. The graph runs in the runtime, as a user runs it. The reference has
computed its results before, and is not in memory any more.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embedge import Embedder, Reranker
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import HIDDEN, TOKEN_VECTORS, TOKEN_WEIGHTS, TOKENIZER, Quality
from embedge.inference.tokenise import Tokeniser
from embedge_export.verify.batch_invariance import batch_difference, score_batch_difference, token_batch_difference
from embedge_export.verify.figures import mean_and_min, quality_of, three_digits, top_overlap
from embedge_export.verify.measure_scores import asked_again, measure_scores
from embedge_export.verify.padded_batches import pad_token_id, pool
from embedge_export.verify.passages import documents, passages, questions
from embedge_export.verify.reference import Expected, Reference
from embedge_export.verify.token_agreement import largest_weights, lexical_agreement, token_cosines


def measure(model: Embedder | Reranker, expected: Expected) -> Quality:
    """Return the quality report of an opened graph: ``agreement`` and ``batch_invariance``."""
    return with_batch_difference(model, agreement(model, expected))


def agreement(model: Embedder | Reranker, expected: Expected) -> Quality:
    """Return how well scores, or all that a graph gives for texts, agree with a reference's."""
    if isinstance(model, Reranker):
        return measure_scores(model, expected)
    manifest, texts = model.bundle.manifest, texts_of(model.bundle)
    quality = _measure_vectors(model, expected, texts)
    if manifest.sparse:
        mean, least = mean_and_min(_measure_lexical_weights(model, expected, texts))
        quality = replace(quality, lexical_mean=mean, lexical_min=least)
    if manifest.multi_vector:
        batched = model.encode_multi_vector(texts, prompt="", on_truncate="ignore")
        rows = [vectors[1:] for vectors in expected.of(TOKEN_VECTORS)]  # the first token has no vector
        mean, least = mean_and_min(np.concatenate(token_cosines(batched, rows)))
        quality = replace(quality, multi_vector_mean=mean, multi_vector_min=least)
    return quality


def with_batch_difference(model: Embedder | Reranker, quality: Quality) -> Quality:
    """Return the report with the largest change of any result with the other texts of its batch."""
    if isinstance(model, Reranker):
        return replace(quality, batch_difference=three_digits(score_batch_difference(model, asked_again())))
    texts = texts_of(model.bundle)
    largest = batch_difference(model, texts)
    if model.bundle.manifest.multi_vector:
        largest = max(largest, token_batch_difference(model, texts))
    return replace(quality, batch_difference=three_digits(largest))


def texts_of(bundle: Bundle) -> list[str]:
    """Return the documents, and the queries with their prompt."""
    prompt = bundle.manifest.prompts.get("query", "")
    return [*documents(), *(prompt + question.text for question in questions())]


def _measure_vectors(model: Embedder, expected: Expected, texts: list[str]) -> Quality:
    """Compare the pooled vectors of texts, and the hidden states.

    The overlap is over the ten passages nearest to each query. The difference is the largest over all elements of the
    last hidden states.
    """
    difference = _padded_difference(model, expected)
    actual = model.encode(texts, prompt="", normalize=True, on_truncate="ignore")
    vectors = np.stack([pool(hidden, model.bundle.manifest.pooling) for hidden in expected.of(HIDDEN)])
    return quality_of(
        (actual * vectors).sum(axis=1, dtype=np.float64),
        reference=expected.name,
        texts=len(texts),
        overlap=top_overlap(_passage_scores(actual), _passage_scores(vectors)),
        difference=difference,
    )


def _padded_difference(model: Embedder, expected: Expected) -> float:
    """Return the largest difference of an element of the last hidden states.

    The graph runs on padded batches, as in a runtime that pads. Its session is closed before the runtime runs it.
    """
    bundle = model.bundle
    # The runtime lets ONNX Runtime rewrite a traced graph.
    is_traced = bundle.manifest.precisions[model.precision].exporter != "native"
    graph = Reference(bundle.graph(model.precision), "", pad_id=pad_token_id(bundle), optimise=is_traced)
    largest = 0.0
    for text, known in zip(graph.outputs(expected.ids, [HIDDEN]), expected.of(HIDDEN), strict=True):
        # A graph that is pruned for CLS pooling gives only the first token: the tokens that both give are compared.
        tokens = min(len(text[HIDDEN]), len(known))
        largest = max(largest, float(np.abs(text[HIDDEN][:tokens] - known[:tokens]).max()))
    return largest


def _passage_scores(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the cosine of each question to each passage, [questions, passages], from the vectors of ``texts_of``."""
    return vectors[-len(questions()) :] @ vectors[: len(passages())].T


def _measure_lexical_weights(model: Embedder, expected: Expected, texts: list[str]) -> NDArray[np.float64]:
    """Return how well the lexical weights of each text agree with the reference's, [texts]."""
    bundle = model.bundle
    excluded = Tokeniser(bundle.path / TOKENIZER, max_tokens=bundle.manifest.max_tokens).special_ids()
    actual = model.encode_sparse(texts, prompt="", on_truncate="ignore")
    known = [
        largest_weights(ids.tolist(), weights.tolist(), excluded=excluded)
        for ids, weights in zip(expected.ids, expected.of(TOKEN_WEIGHTS), strict=True)
    ]
    return lexical_agreement([weights.as_dict() for weights in actual], known)
