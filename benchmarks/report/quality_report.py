"""The result of the quality benchmark, and its table."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.measure.evaluate import Score
from benchmarks.report.machine_info import Machine
from benchmarks.report.tables import align

_COLUMNS = ("encoder", "MB", "STS-B", "nDCG@10", "recall@100", "cosine mean", "cosine min")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of the benchmark.

    Attributes:
        model: the name of the checkpoint.
        origin: the source of the checkpoint.
        max_tokens: the length to which texts were truncated.
        baseline: the row with which the cosines compare.
        scores: the rows in order, by the name of the encoder.
        about: how each encoder was made, by its name.
        left_out: the reason for each row that was not computed, by name.
        machine: where the run took place.
    """

    model: str
    origin: str
    max_tokens: int
    baseline: str
    scores: Mapping[str, Score]
    about: Mapping[str, str]
    left_out: Mapping[str, str]
    machine: Machine


def table(scores: Mapping[str, Score]) -> str:
    """An aligned Markdown table of the scores."""
    return align([_COLUMNS, *(_cells(name, score) for name, score in scores.items())])


def _cells(name: str, score: Score) -> tuple[str, ...]:
    points = (score.stsb_spearman, score.cranfield_ndcg_10, score.cranfield_recall_100)
    return (
        name,
        f"{score.size / 1e6:.1f}",
        *(f"{value:.2f}" for value in points),
        f"{score.cosine_mean:.5f}",
        f"{score.cosine_min:.4f}",
    )
