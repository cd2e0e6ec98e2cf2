"""Draw the results of the quality benchmark: loss of quality against size."""

from pathlib import Path
from typing import Any

from benchmarks.report.quality_report import Result
from embedge.errors import MissingExtraError

_OWN, _OTHERS = "#c1440e", "#4a6fa5"
_FLOOR = 1e-7  # the rounding of float32; smaller distances mean nothing


def require_matplotlib() -> None:
    """Raise MissingExtraError where matplotlib is not installed. Call it before hours of work, not after."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib is not installed; `pip install 'embedge[bench]'` installs it, or leave out --plot"
        ) from error


def draw(result: Result, path: Path) -> None:
    """Draw a PNG or SVG, by the suffix of the path: each row's distance to fp32, and its loss of quality by size."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: a tenth of the size, and searchable
    figure = Figure(figsize=(12, 0.35 * len(result.scores) + 2.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _distances(left, result)
    _losses(right, result)
    figure.suptitle(f"{result.model}: {result.machine.processor}, {result.machine.date}", fontsize=9)
    figure.savefig(path, dpi=150)


def colour(name: str) -> str:
    """The colour of a row: embedge's rows stand out."""
    return _OWN if name.startswith("embedge") else _OTHERS


def _distances(axes: Any, result: Result) -> None:
    """Draw a line from the mean to the worst distance for every row but the baseline, the nearest row on top."""
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
    """Draw the size of each row against its mean loss of STS-B and nDCG@10."""
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
