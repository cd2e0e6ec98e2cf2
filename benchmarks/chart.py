"""Rows as a picture: what is lost, against what is saved."""

from pathlib import Path
from typing import Any

from embedge.errors import MissingExtraError
from report import Result

_OWN, _OTHERS = "#c1440e", "#4a6fa5"
_FLOOR = 1e-7  # what float32 itself leaves; below it there is nothing to see


def require_matplotlib() -> None:
    """Raises MissingExtraError where matplotlib is not installed; to be asked before hours of work, not after."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib is not installed; `pip install 'embedge[bench]'` brings it, or leave --plot out"
        ) from error


def draw(result: Result, path: Path) -> None:
    """A PNG or SVG by the path's ending: distance to fp32 of every row, and loss of nDCG against size."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a tenth of the size, and it can be searched
    figure = Figure(figsize=(12, 0.35 * len(result.scores) + 2.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _distances(left, result)
    _losses(right, result)
    figure.suptitle(f"{result.model}: {result.machine.processor}, {result.machine.date}", fontsize=9)
    figure.savefig(path, dpi=150)


def colour(name: str) -> str:
    """Of a row: embedge's own stand out."""
    return _OWN if name.startswith("embedge") else _OTHERS


def _distances(axes: Any, result: Result) -> None:
    """A line from mean to worst distance for every row but the baseline, the nearest on top."""
    rows = {name: score for name, score in result.scores.items() if name != result.baseline}
    names = sorted(rows, key=lambda name: rows[name].cosine_mean)
    for height, name in enumerate(names):
        mean, worst = (max(1 - value, _FLOOR) for value in (rows[name].cosine_mean, rows[name].cosine_min))
        axes.plot([mean, worst], [height, height], color=colour(name), linewidth=2)
        axes.plot([mean], [height], "o", color=colour(name))
        axes.plot([worst], [height], "|", color=colour(name), markersize=12)
    axes.set_yticks(range(len(names)), names)
    axes.set_xscale("log")
    axes.set_xlabel(f"1 - cosine to {result.baseline} on STS-B: mean (dot) to worst (bar)")
    axes.grid(axis="x", alpha=0.3)


def _losses(axes: Any, result: Result) -> None:
    """Size against what of STS-B and nDCG@10 together is lost, on average of the two."""
    base = result.scores[result.baseline]
    for name, score in result.scores.items():
        lost = (base.stsb_spearman + base.cranfield_ndcg_10 - score.stsb_spearman - score.cranfield_ndcg_10) / 2
        axes.plot([score.size / 1e6], [lost], "o", color=colour(name))
        axes.annotate(name, (score.size / 1e6, lost), xytext=(5, 3), textcoords="offset points", fontsize=7)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlabel("MB")
    axes.set_ylabel("points lost: mean of STS-B Spearman and Cranfield nDCG@10")
    axes.grid(alpha=0.3)
