"""The frontier: quality against what 1,000 answers cost, and against the labels that were seen."""

import numpy as np
import pandas as pd

from diptych.core.contract import LLMOPS, MLOPS
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, SERIES, figure, styled
from diptych.reporting.contrast.way import CASCADE, SIDES
from diptych.reporting.format import plain

COLORS = {MLOPS: SERIES[0], LLMOPS: SERIES[1], CASCADE: SERIES[2]}  # on every picture
SHAPES = dict(zip(COLORS, MARKERS, strict=False))
KINDS = {
    "usd": ("US dollars of compute for 1,000 answers", "best for its cost", "cheaper way"),
    "labels": ("labels it has seen", "best for its labels", "way with fewer labels"),
}


def plot(ways: pd.DataFrame, title: str) -> None:
    """Show quality against cost and against labels, of what `ways.table` returns."""
    for kind in KINDS:
        if len(_known(ways, kind)):
            show(*_drawn(ways, title, kind))


def html(ways: pd.DataFrame, title: str, kind: str) -> str:
    """Return the picture of a kind of `KINDS`, "" where nothing can be drawn."""
    return figure_html(*_drawn(ways, title, kind)) if len(_known(ways, kind)) else ""


def _known(ways: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the ways that can be drawn; a cost of nothing has no place on a logarithmic axis."""
    known = ways.dropna(subset=["value", kind])
    return known[known["usd"] > 0] if kind == "usd" else known


@styled
def _drawn(ways: pd.DataFrame, title: str, kind: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    label, mark, less = KINDS[kind]
    metric, fig, axes = ways.attrs["metric"], *figure(340)
    axes.set(xlabel=label, ylabel=f"{metric.title} on the same rows")
    known = _known(ways, kind)
    _scale(axes, known[kind], kind)
    for side, points in known.groupby("panel", sort=False):
        takes = _ends(points, kind, "usd low", "usd high") if kind == "usd" else None
        axes.errorbar(
            points[kind], points["value"], _ends(points, "value", "low", "high"), takes,
            fmt=SHAPES[side], color=COLORS[side], label=SIDES[side],
        )  # fmt: skip
    best = known[known[mark]].sort_values(kind)
    axes.plot(best[kind], best["value"], "-", color="gray", linewidth=1, zorder=0)
    for number, point in enumerate(best.itertuples(), start=1):
        place = (getattr(point, kind), point.value)
        axes.annotate(str(number), place, (5, 6), textcoords="offset points", weight="bold")
    axes.legend(loc="lower right") if len(known["panel"].unique()) > 1 else None
    names = [f"{n}: {p.way} ({p.value:.3f})" for n, p in enumerate(best.itertuples(), start=1)]
    costs = [name for name in ways if kind == "usd" and name.startswith("usd ")]
    shown = ways[["way", "value", "low", "high", "n", kind, *costs]]
    words = f"No {less} is better than the numbered ones. {'; '.join(names)}"
    alt = f"{metric.title} by {label}, {title}. {words}."
    return fig, alt, shown, f"{words}. 95 % intervals."


def _ends(points: pd.DataFrame, value: str, low: str, high: str) -> np.ndarray:
    """Return how far an interval reaches to both sides, 0 where there is none."""
    ends = points[value] - points[low], points[high] - points[value]
    return np.nan_to_num(np.maximum(ends, 0))


def _scale(axes, values: pd.Series, kind: str) -> None:
    """Make the lower axis logarithmic, from 0 for labels."""
    if kind == "labels":
        axes.set_xscale("symlog", linthresh=1)
        ticks = [0, *10 ** np.arange(np.ceil(np.log10(max(1, values.max()) + 1)) + 1)]
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    else:
        axes.set_xscale("log")
        axes.set_xlim(values.min() / 2, values.max() * 2)
        axes.xaxis.set_major_formatter(lambda value, _: plain(value))
    axes.minorticks_off()
