"""Measure how far the scores of a reranker's graph are from a reference's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedge import Reranker
from embedge.bundle.manifest import SCORES, Quality
from embedge_export.verify.figures import quality_of, top_overlap
from embedge_export.verify.passages import Passage, passages, questions
from embedge_export.verify.reference import Expected

_EVERY = 6  # every sixth question is asked: one on each topic


def measure_scores(model: Reranker, expected: Expected) -> Quality:
    """Return how well a reranker, which scores some of the questions with every passage, agrees with a reference.

    The cosines are between the two vectors of a question's scores, after their mean is subtracted: a constant added to
    all scores of a question does not change their order. The overlap is over the ten best passages, and the difference
    is the largest between two logits.
    """
    known = np.concatenate(expected.of(SCORES))
    actual = model.score(question_pairs(passages()), on_truncate="ignore")
    rows = [scores.reshape(-1, len(passages())).astype(np.float64) for scores in (actual, known)]
    return quality_of(
        centred_cosines(*rows),
        reference=expected.name,
        texts=len(actual),
        overlap=top_overlap(*rows),
        difference=float(np.abs(actual - known).max()),
    )


def asked_again() -> list[tuple[str, str]]:
    """Return the pairs that are scored again, alone and in other batches."""
    return question_pairs(passages())[::_EVERY]


def question_pairs(asked_of: Sequence[Passage]) -> list[tuple[str, str]]:
    """Return the pairs of some of the questions, each with every one of these passages."""
    return [(question.text, passage.joined) for question in questions()[::_EVERY] for passage in asked_of]


def centred_cosines(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows after each row's mean is subtracted (Pearson correlation), [rows]."""
    a, b = (scores - scores.mean(axis=1, keepdims=True) for scores in (actual, expected))
    cosines: NDArray[np.float64] = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return cosines
