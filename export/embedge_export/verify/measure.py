"""Measure how far the results of an opened graph are from a reference's: the quality report of a bundle.

The texts are ones that int8 was not calibrated on. The graph runs in the runtime, as a user runs it; the reference gets
the same texts in padded batches.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embedge import Embedder, Reranker
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import TOKENIZER, Quality
from embedge.inference.tokenise import Tokeniser
from embedge_export.verify.batch_invariance import batch_difference
from embedge_export.verify.figures import mean_and_min, quality_of, three_digits, top_overlap
from embedge_export.verify.measure_scores import measure_scores
from embedge_export.verify.padded_batches import padded_batches, pool_padded
from embedge_export.verify.passages import documents, passages, questions
from embedge_export.verify.reference import Reference
from embedge_export.verify.token_agreement import largest_weights, lexical_agreement, token_cosines


def measure(model: Embedder | Reranker, reference: Reference) -> Quality:
    """Return the quality report of an opened graph: of its scores, or of all that it gives for texts."""
    if isinstance(model, Reranker):
        return measure_scores(model, reference)
    manifest, texts = model.bundle.manifest, texts_of(model.bundle)
    quality = _measure_vectors(model, reference, texts)
    if manifest.sparse:
        mean, least = mean_and_min(_measure_lexical_weights(model, reference, texts))
        quality = replace(quality, lexical_mean=mean, lexical_min=least)
    if manifest.multi_vector:
        cosines, by_batch = _measure_multi_vectors(model, reference, texts)
        mean, least = mean_and_min(cosines)
        largest = max(by_batch, quality.batch_difference or 0)
        quality = replace(
            quality, batch_difference=three_digits(largest), multi_vector_mean=mean, multi_vector_min=least
        )
    return quality


def texts_of(bundle: Bundle) -> list[str]:
    """Return the documents, and the queries with their prompt."""
    prompt = bundle.manifest.prompts.get("query", "")
    return [*documents(), *(prompt + question.text for question in questions())]


def _measure_vectors(model: Embedder, reference: Reference, texts: list[str]) -> Quality:
    """Compare the pooled vectors of texts, and the hidden states.

    The overlap is over the ten passages nearest to each query. The difference is the largest over all elements of the
    last hidden states. For it, both graphs run on the same padded batches, and padding does not count.
    """
    actual = model.encode(texts, prompt="", normalize=True, on_truncate="ignore")
    bundle = model.bundle
    graph = Reference(bundle.graph(model.precision), model.precision)
    pooled, differences = [], [0.0]
    for ids, mask in padded_batches(bundle, texts):
        expected_states, actual_states = reference.run(ids, mask), graph.run(ids, mask)
        pooled.append(pool_padded(expected_states, mask, bundle.manifest.pooling))
        # A graph that is pruned for CLS pooling gives only the first token: the tokens that both give are compared.
        tokens = min(expected_states.shape[1], actual_states.shape[1])
        difference = np.abs(expected_states[:, :tokens] - actual_states[:, :tokens])
        differences.append(float(difference[mask[:, :tokens] == 1].max()))
    expected = np.concatenate(pooled)
    return quality_of(
        (actual * expected).sum(axis=1, dtype=np.float64),
        reference=reference.name,
        texts=len(texts),
        overlap=top_overlap(_passage_scores(actual), _passage_scores(expected)),
        difference=max(differences),
        by_batch=batch_difference(model, texts),
    )


def _passage_scores(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the cosine of each question to each passage, [questions, passages], from the vectors of ``texts_of``."""
    return vectors[-len(questions()) :] @ vectors[: len(passages())].T


def _measure_lexical_weights(model: Embedder, reference: Reference, texts: list[str]) -> NDArray[np.float64]:
    """Return how well the lexical weights of each text agree with the reference's, [texts]."""
    bundle = model.bundle
    excluded = Tokeniser(bundle.path / TOKENIZER, max_tokens=bundle.manifest.max_tokens).special_ids()
    actual = model.encode_sparse(texts, prompt="", on_truncate="ignore")
    expected = [
        largest_weights(row.tolist(), weights.tolist(), excluded=excluded)
        for ids, mask in padded_batches(bundle, texts)
        for row, weights in zip(ids, reference.weigh_tokens(ids, mask) * mask, strict=True)
    ]
    return lexical_agreement([weights.as_dict() for weights in actual], expected)


def _measure_multi_vectors(
    model: Embedder, reference: Reference, texts: list[str]
) -> tuple[NDArray[np.float64], float]:
    """Return the cosine of each token's vector to the reference's, [tokens], and the largest change with the batch."""
    alone = [model.encode_multi_vector(text, prompt="", on_truncate="ignore") for text in texts]
    batched = model.encode_multi_vector(texts, prompt="", on_truncate="ignore")
    by_batch = max(float(np.abs(one - other).max()) for one, other in zip(alone, batched, strict=True))
    expected = [
        rows[row_mask == 1][1:]  # the first token has no vector
        for ids, mask in padded_batches(model.bundle, texts)
        for rows, row_mask in zip(reference.project_tokens(ids, mask), mask, strict=True)
    ]
    return np.concatenate(token_cosines(batched, expected)), by_batch
