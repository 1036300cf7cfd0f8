"""The quality by number of labels: of a fitted model, of examples in a prompt, of a tuned model."""

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, IMPROVE
from diptych.core.evaluation import stats
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, SERIES, figure, styled
from diptych.reporting.contrast.evidence import LEFT, RIGHT, Panel, is_perturbed

FITTED, SHOWN, TUNED = "a fitted model", "examples in a prompt", "a fine-tuned model"
COLUMNS = ["panel", "way", "labels", "value", "low", "high", "run"]


def bought(left: Panel, right: Panel) -> pd.DataFrame:
    """Return the quality on the test set that each number of labels reached.

    Returns
    -------
    DataFrame
        ``panel``, ``way``, ``labels``, ``value`` with ``low`` and ``high``, and ``run``, the id of
        the run that measured it; a line for each number of labels that was tried.
    """
    lines = [*_fitted(left), *_shown(right), *_tuned(right)]
    return pd.DataFrame(lines, columns=COLUMNS)


def _fitted(left: Panel):
    curve = left.table(BUILD, contract.LEARNING_CURVE)
    for row in () if curve is None else curve.itertuples():
        yield LEFT, FITTED, row.rows, row.value, row.low, row.high, left.run(BUILD).id


def _shown(right: Panel):
    results = right.table(BUILD, contract.RESULTS)
    examples = right.fact(BUILD, contract.EXAMPLES_SHOWN)
    if results is None or not examples:
        return
    whole = results[~is_perturbed(results["id"])]
    for name, scores in whole.groupby("variant", sort=False)["score"]:
        if name in examples and len(scores) > 1:
            mean = stats.bootstrap(scores)
            ends = mean.value, mean.low, mean.high
            yield RIGHT, SHOWN, examples[name], *ends, right.run(BUILD).id


def _tuned(right: Panel):
    if tuned := right.fact(IMPROVE, contract.TUNED):
        ends = (tuned[name] for name in ("value", "low", "high"))
        yield RIGHT, TUNED, tuned["labels"], *ends, right.run(IMPROVE).id


def plot(points: pd.DataFrame, goal: float, title: str) -> None:
    """Show what `bought` returned, and the goal."""
    show(*_drawn(points, goal, title))


def html(points: pd.DataFrame, goal: float, title: str) -> str:
    """Return what `plot` shows."""
    return figure_html(*_drawn(points, goal, title))


@styled
def _drawn(points: pd.DataFrame, goal: float, title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    fig, axes = figure(320)
    axes.set(xlabel="labels", ylabel="quality on the test set")
    axes.set_xscale("symlog", linthresh=1)  # zero labels are a point too
    axes.axhline(goal, color="gray", linestyle=":", linewidth=1.2, label=f"the goal, {goal:g}")
    for number, (way, line) in enumerate(points.groupby("way", sort=False)):
        line = line.sort_values("labels")
        color, marker = SERIES[number], MARKERS[number]
        style = "-" if way == FITTED else ""
        axes.vlines(line["labels"], line["low"], line["high"], color=color, linewidth=1.2)
        axes.plot(line["labels"], line["value"], marker + style, color=color, label=way)
    ticks = [0, *10 ** np.arange(np.ceil(np.log10(points["labels"].max() + 1)) + 1)]
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    fig.legend(loc="outside upper left", ncols=2)
    best = points.loc[points.groupby("way", sort=False)["value"].idxmax()]
    summary = "; ".join(
        f"{row.way} reaches {row.value:.3f} with {row.labels:,}" for row in best.itertuples()
    )
    table = points[["way", "labels", "value", "low", "high"]]
    return fig, f"Quality by labels, {title}: {summary}.", table, "Quality by number of labels"
