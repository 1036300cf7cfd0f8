"""What quality how many labels bought: of a fitted model, examples in a prompt, a tuned model."""

import numpy as np
import pandas as pd

from diptych.core.evaluation import stats
from diptych.core.plots.html import MARKERS, SERIES, figure, figure_html, show, styled
from diptych.reporting.contrast.evidence import HARDER, LEFT, RIGHT, Panel

FITTED, SHOWN, TUNED = "a model fitted to them", "a prompt that shows them", "a model tuned on them"
COLUMNS = ["panel", "way", "labels", "value", "low", "high", "run"]


def bought(left: Panel, right: Panel) -> pd.DataFrame:
    """Return the quality on test rows that each number of labels reached.

    Returns
    -------
    DataFrame
        ``panel``, ``way``, ``labels``, ``value`` with ``low`` and ``high``, and ``run``, the id of
        the run that measured it; a line for each number of labels that was tried.
    """
    lines = [*_fitted(left), *_shown(right), *_tuned(right)]
    return pd.DataFrame(lines, columns=COLUMNS)


def _fitted(left: Panel):
    curve = left.table("2_build", "learning_curve")
    for row in () if curve is None else curve.itertuples():
        yield LEFT, FITTED, row.rows, row.value, row.low, row.high, left.run("2_build").id


def _shown(right: Panel):
    results, shown = right.table("2_build", "results"), right.fact("2_build", "shown")
    if results is None or not shown:
        return
    whole = results[~results["id"].astype(str).str.contains(HARDER, regex=False)]
    for name, own in whole.groupby("variant", sort=False)["score"]:
        if name in shown and len(own) > 1:
            found = stats.bootstrap(own)
            ends = found.value, found.low, found.high
            yield RIGHT, SHOWN, shown[name], *ends, right.run("2_build").id


def _tuned(right: Panel):
    if tuned := right.fact("6_improve", "tuned"):
        ends = (tuned[name] for name in ("value", "low", "high"))
        yield RIGHT, TUNED, tuned["labels"], *ends, right.run("6_improve").id


def plot(points: pd.DataFrame, goal: float, title: str) -> None:
    """Show the quality by labels of what `bought` returned, and the goal."""
    show(*_drawn(points, goal, title))


def html(points: pd.DataFrame, goal: float, title: str) -> str:
    """Return what `plot` shows."""
    return figure_html(*_drawn(points, goal, title))


@styled
def _drawn(points: pd.DataFrame, goal: float, title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    fig, axes = figure(320)
    axes.set(xlabel="labels", ylabel="quality on test rows")
    axes.set_xscale("symlog", linthresh=1)  # none is a number of labels too
    axes.axhline(goal, color="gray", linestyle=":", linewidth=1.2, label=f"the goal, {goal:g}")
    for number, (way, own) in enumerate(points.groupby("way", sort=False)):
        own = own.sort_values("labels")
        color, marker = SERIES[number], MARKERS[number]
        line = "-" if way == FITTED else ""
        axes.vlines(own["labels"], own["low"], own["high"], color=color, alpha=0.4)
        axes.plot(own["labels"], own["value"], marker + line, color=color, label=way)
    ticks = [0, *10 ** np.arange(np.ceil(np.log10(points["labels"].max() + 1)) + 1)]
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    fig.legend(loc="outside upper left", ncols=2)
    best = points.loc[points.groupby("way", sort=False)["value"].idxmax()]
    said = "; ".join(
        f"{row.way} reaches {row.value:.3f} with {row.labels:,}" for row in best.itertuples()
    )
    table = points[["way", "labels", "value", "low", "high"]]
    return fig, f"Quality by labels, {title}: {said}.", table, "Quality by the labels it took"
