"""The quality by number of labels: of a fitted model, of examples in a prompt, of a tuned model."""

import math

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, IMPROVE
from diptych.core.evaluation import fairness
from diptych.core.evaluation.metrics import Metric
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, SERIES, figure, styled
from diptych.reporting.contrast.evidence import (
    LEFT,
    RIGHT,
    Panel,
    is_perturbed,
    metric_of,
    scored,
)

FITTED, SHOWN, TUNED = "a fitted model", "examples in a prompt", "a fine-tuned model"
COLUMNS = ["panel", "way", "labels", "value", "low", "high", "run"]


def bought(left: Panel, right: Panel) -> pd.DataFrame:
    """Return the task's metric on the test set that each number of labels reached.

    Returns
    -------
    DataFrame
        ``panel``, ``way``, ``labels``, ``value`` with ``low`` and ``high``, and ``run``, the id of
        the run that measured it; a line for each number of labels that was tried. The attribute
        ``metric`` holds the `Metric`, None where none is recorded or the panels differ.
    """
    metric, _ = metric_of(left, right)
    lines = [*_fitted(left), *_shown(right, metric), *_tuned(right)]
    points = pd.DataFrame(lines, columns=COLUMNS)
    points.attrs["metric"] = metric
    return points


def _fitted(left: Panel):
    curve = left.table(BUILD, contract.LEARNING_CURVE)
    for row in () if curve is None else curve.itertuples():
        yield LEFT, FITTED, row.rows, row.value, row.low, row.high, left.run(BUILD).id


def _shown(right: Panel, metric: Metric | None):
    results = right.table(BUILD, contract.RESULTS)
    examples = right.fact(BUILD, contract.EXAMPLES_SHOWN)
    if results is None or metric is None or not examples:
        return
    whole = results[~is_perturbed(results["id"])]
    for name in whole["variant"].unique():
        answered = right.of_variant(name)
        whole_of = whole.loc[whole["variant"] == name]
        if name in examples and len(answered) > 1 and whole_of["score"].notna().all():
            ids = answered.index.intersection(whole_of["id"].astype(str))
            reached = fairness.figure(metric, scored(answered.loc[ids], answered, metric))
            if math.isfinite(reached.value):
                ends = reached.value, reached.low, reached.high
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
    metric = points.attrs.get("metric")
    title_of = metric.title if metric else "quality"
    axes.set(xlabel="labels", ylabel=f"{title_of} on the test set")
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
    signed = points["value"] * (metric.sign if metric else 1)
    best = points.loc[signed.groupby(points["way"], sort=False).idxmax()]
    summary = "; ".join(
        f"{row.way} reaches {row.value:.3f} with {row.labels:,}" for row in best.itertuples()
    )
    table = points[["way", "labels", "value", "low", "high"]]
    words = title_of[:1].upper() + title_of[1:]
    return fig, f"{words} by labels, {title}: {summary}.", table, f"{words} by number of labels"
