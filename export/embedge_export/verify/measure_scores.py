"""Measure how far the scores of a reranker's graph are from a reference's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedge import Reranker
from embedge.bundle.manifest import SCORES, Quality
from embedge_export.verify.batch_invariance import score_batch_difference
from embedge_export.verify.figures import quality_of, top_overlap
from embedge_export.verify.padded_batches import padded_batches
from embedge_export.verify.passages import Passage, passages, questions
from embedge_export.verify.reference import Reference

_EVERY = 6  # every sixth question is asked: one on each topic


def measure_scores(model: Reranker, reference: Reference) -> Quality:
    """Return the quality report of a reranker, which scores some of the questions with every passage.

    The reference scores the same pairs in padded batches. The cosines are between the two vectors of a question's
    scores, after their mean is subtracted: a constant added to all scores of a question does not change their order.
    The overlap is over the ten best passages, and the difference is the largest between two logits.
    """
    pairs = question_pairs(passages())
    batches = padded_batches(model.bundle, pairs)
    expected = np.concatenate([reference.run(*batch, output=SCORES)[:, 0] for batch in batches])
    actual = model.score(pairs, on_truncate="ignore")
    rows = [scores.reshape(-1, len(passages())).astype(np.float64) for scores in (actual, expected)]
    return quality_of(
        centred_cosines(*rows),
        reference=reference.name,
        texts=len(pairs),
        overlap=top_overlap(*rows),
        difference=np.abs(actual - expected).max(),
        by_batch=score_batch_difference(model, pairs[::_EVERY], actual[::_EVERY]),
    )


def question_pairs(asked_of: Sequence[Passage]) -> list[tuple[str, str]]:
    """Return the pairs of some of the questions, each with every one of these passages."""
    return [(question.text, passage.joined) for question in questions()[::_EVERY] for passage in asked_of]


def centred_cosines(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows after each row's mean is subtracted (Pearson correlation), [rows]."""
    a, b = (scores - scores.mean(axis=1, keepdims=True) for scores in (actual, expected))
    cosines: NDArray[np.float64] = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return cosines
