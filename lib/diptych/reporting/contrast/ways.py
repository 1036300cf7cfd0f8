"""Every way to do the task that was graded, on the same rows: models, not panels, are compared."""

import math

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, DATA, LLMOPS, RecordError
from diptych.core.evaluation import fairness, stats
from diptych.core.evaluation.stats import Estimate
from diptych.core.monitoring.sequential import in_units
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, SERIES, figure, styled
from diptych.reporting.contrast.evidence import (
    CONTAMINATED,
    GRADED,
    LEFT,
    Panel,
    is_perturbed,
    metric_of,
    scored,
)
from diptych.reporting.contrast.measures import Assumptions

COLUMNS = [
    "way", "panel", "selected", "value", "low", "high", "n", "labels", "against the best",
    "on the frontier", "run",
]  # fmt: skip


def ways(left: Panel, right: Panel, assumptions: Assumptions) -> pd.DataFrame:
    """Return a line for each model and each prompt with its model, best first.

    Returns
    -------
    DataFrame
        ``way``, ``panel``, ``selected`` (by its panel), the metric's ``value``, ``low`` and
        ``high`` on the ``n`` rows that all of them answered, ``labels`` it has seen, ``against the
        best`` (*best*, *tie*, *worse* or *inconclusive*, by the paired interval and the margin),
        ``on the frontier`` (nothing is better with no more labels) and ``run``. The attribute
        ``metric`` holds the `Metric`, ``left out`` the ways that failed calls leave without a
        figure; ``note`` says why labels are not known. Without lines where no run recorded a
        metric, or the panels differ in it.
    """
    metric, _ = metric_of(left, right)
    graded, failed = {}, []
    for panel in (left, right):
        for name in _names(panel):
            try:
                graded[panel.name, name] = panel.of_variant(name)
            except RecordError as error:
                failed.append(str(error).partition(". ")[0])
    same = _common(graded)
    table = pd.DataFrame(columns=COLUMNS)
    if metric is not None and len(same) > 1:
        lines = [_line(*key, rows, same, metric, (left, right)) for key, rows in graded.items()]
        lines = [line for line in lines if math.isfinite(line["value"])]
        table = pd.DataFrame(lines, columns=COLUMNS)
        table = table.sort_values("value", ascending=not metric.higher_is_better, kind="stable")
        table = _judged(table.reset_index(drop=True), graded, same, metric, assumptions)
    note = CONTAMINATED if right.is_contaminated else ""
    table.attrs |= {"metric": metric, "left out": failed, "note": note}
    return table


def _names(panel: Panel) -> list[str]:
    """Return a panel's own ways; LLMOps has the predictions of MLOps beside its answers."""
    column, _, tables = GRADED[panel.name]
    frame = panel.table(BUILD, tables[0])
    names = [] if frame is None else list(frame[column].dropna().unique())
    if panel.name == LEFT:
        return names
    variants = panel.fact(BUILD, contract.EXAMPLES_SHOWN) or {}
    return [name for name in names if name in variants]


def _common(graded: dict) -> pd.Index:
    """Return the ids of the test rows that every way answered."""
    same = None
    for rows in graded.values():
        ids = rows.index[~is_perturbed(rows.index) & ~rows.index.str.startswith("hw-")]
        same = ids if same is None else same.intersection(ids)
    return pd.Index([], dtype=object) if same is None else same.sort_values()


def _line(panel_name: str, name: str, rows, same, metric, panels) -> dict:
    """Return one way's line; the verdict against the best comes later."""
    panel = panels[0] if panel_name == LEFT else panels[1]
    estimate = fairness.figure(metric, scored(rows.loc[same], rows, metric))
    return {
        "way": name,
        "panel": panel_name,
        "selected": panel.fact(BUILD, GRADED[panel_name][1]) == name,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": len(same),
        "labels": _labels(panel, name),
        "run": panel.run(BUILD).id,
    }


def _labels(panel: Panel, name: str) -> float:
    """Return the labels that a way has seen, NaN where that is not recorded."""
    if panel.is_contaminated:
        return math.nan
    if panel.name == LLMOPS:
        return float((panel.fact(BUILD, contract.EXAMPLES_SHOWN) or {}).get(name, math.nan))
    rows = panel.value(DATA, contract.TRAIN_ROWS)
    return math.nan if rows is None else rows.value


def _judged(table: pd.DataFrame, graded: dict, same, metric, assumptions) -> pd.DataFrame:
    """Compare each way with the best one, row by row, and mark the frontier."""
    best = table.iloc[0]
    of_best = graded[best["panel"], best["way"]]
    margin = in_units(assumptions.margin, metric, best["value"])
    words = ["best"]
    for line in table.iloc[1:].itertuples():
        rows = graded[line.panel, line.way]
        pair = [scored(one.loc[same], one, metric) for one in (rows, of_best)]
        gap = metric.improvement(*pair)
        known = not gap.note and math.isfinite(gap.low)
        outcome = (
            stats.verdict(Estimate(gap.value, gap.low, gap.high, gap.n), margin)
            if known
            else "unclear"
        )
        words.append("inconclusive" if outcome == "unclear" else outcome)
    fewest = table["labels"].fillna(math.inf)
    frontier = [not (fewest[:place] <= fewest[place]).any() for place in range(len(table))]
    return table.assign(**{"against the best": words, "on the frontier": frontier})


def plot(table: pd.DataFrame, title: str) -> None:
    """Show what `ways` returned: quality against labels."""
    if len(table):
        show(*_drawn(table, title))


def html(table: pd.DataFrame, title: str) -> str:
    """Return what `plot` shows, "" where nothing was graded."""
    return figure_html(*_drawn(table, title)) if len(table) else ""


@styled
def _drawn(table: pd.DataFrame, title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    fig, axes = figure(340)
    metric = table.attrs["metric"]
    axes.set(xlabel="labels it has seen", ylabel=f"{metric.title} on the same rows")
    axes.set_xscale("symlog", linthresh=1)
    known = table.dropna(subset=["labels"])
    for panel, points in known.groupby("panel", sort=False):
        number = int(panel == LLMOPS)  # a panel has its colour on every page
        color, marker = SERIES[number], MARKERS[number]
        ends = points["value"] - points["low"], points["high"] - points["value"]
        places = (
            points["labels"] * np.linspace(0.94, 1.06, len(points))
            if len(points) > 1
            else points["labels"]
        )
        name = "LLMOps" if panel == LLMOPS else "MLOps"
        axes.errorbar(places, points["value"], ends, fmt=marker, color=color, label=name)
    for point in known[known["on the frontier"]].itertuples():
        axes.annotate(point.way, (point.labels, point.value), (6, 4), textcoords="offset points")
    ticks = [0, *10 ** np.arange(np.ceil(np.log10(known["labels"].max() + 1)) + 1)]
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.minorticks_off()
    fig.legend(loc="outside upper left", ncols=2)
    front = ", ".join(f"{one.way} ({one.value:.3f}, {one.labels:,.0f} labels)"
                      for one in known[known["on the frontier"]].itertuples())  # fmt: skip
    shown = table.drop(columns=["run", "panel"])
    alt = f"{metric.title} by labels, {title}. Nothing is better with fewer labels than: {front}."
    caption = (
        "Every way on the same rows, 95 % intervals; named: nothing is better with no more labels"
    )
    return fig, alt, shown, caption
