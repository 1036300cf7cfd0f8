"""The quality by number of labels: of a fitted model, of examples in a prompt, of a tuned model."""

import math
import re

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, IMPROVE
from diptych.core.contract import LLMOPS as RIGHT_PANEL
from diptych.core.evaluation import fairness
from diptych.core.evaluation.metrics import Metric
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, figure, styled
from diptych.reporting.contrast.evidence import (
    LEFT,
    Panel,
    is_perturbed,
    metric_of,
    scored,
)
from diptych.reporting.contrast.frontier import COLORS
from diptych.reporting.contrast.way import NAMES, PROMPT, Elsewhere, Way

FITTED, SHOWN, TUNED = "a fitted model", "examples in a prompt", "a fine-tuned model"
COLUMNS = ["panel", "way", "labels", "value", "low", "high", "run"]


def bought(left: Panel, right: Panel) -> pd.DataFrame:
    """Return the task's metric on the test set that each number of labels reached.

    Returns
    -------
    DataFrame
        ``panel``, ``way``, ``labels``, ``value`` with ``low`` and ``high``, and ``run``, the id of
        the run that measured or shows it; a line for each number of labels that was tried. Of the
        model in the box, whose labels are not known where its pretraining saw the task, there is
        none then. The attribute ``metric`` holds the `Metric`, None where none is recorded or the
        panels differ.
    """
    metric, _ = metric_of(left, right)
    lines = [*_fitted(left)]
    if not right.is_contaminated:
        lines += [*_shown(right, metric), *_tuned(right)]
    if metric is not None:
        lines += [*_elsewhere(left.others), *_by_model(right.others, metric)]
    points = pd.DataFrame(lines, columns=COLUMNS)
    points.attrs["metric"] = metric
    return points


def _elsewhere(others: Elsewhere):
    """Yield the stored curves, instead of the run's own three points of a family."""
    if others.curves is None:
        return
    for row in others.curves.itertuples():
        if row.family != "baseline":
            way = NAMES.get(row.family, row.family)
            yield LEFT, way, row.labels, row.value, row.low, row.high, others.run


def _by_model(others: Elsewhere, metric: Metric):
    """Yield what recorded models reached; a model with a prompt is one line."""
    for way in others.ways:
        if way.side == RIGHT_PANEL and math.isfinite(way.labels):
            reached = fairness.figure(metric, scored(way.rows, way.rows, metric))
            if math.isfinite(reached.value):
                ends = reached.value, reached.low, reached.high
                yield RIGHT_PANEL, _line_of(way), way.labels, *ends, way.run


def _line_of(way: Way) -> str:
    """Return the line that a way is a point of: a model asked with a prompt, or fine-tuned."""
    model, _, how = way.name.partition(", ")
    if how.startswith("LoRA"):
        return f"{model}, LoRA"
    _, mark, prompt = how.partition(PROMPT)
    return f"{model}{mark}{prompt}"


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
    lines = {name: re.sub(r" · k=\d+", "", name) for name in examples}  # whatever they are shown
    for name in whole["variant"].unique():
        answered = right.of_variant(name)
        whole_of = whole.loc[whole["variant"] == name]
        if name in examples and len(answered) > 1 and whole_of["score"].notna().all():
            ids = answered.index.intersection(whole_of["id"].astype(str))
            reached = fairness.figure(metric, scored(answered.loc[ids], answered, metric))
            if math.isfinite(reached.value):
                ends = reached.value, reached.low, reached.high
                line = lines[name] if len({*lines.values()}) > 1 else SHOWN
                yield RIGHT_PANEL, line, examples[name], *ends, right.run(BUILD).id


def _tuned(right: Panel):
    if tuned := right.fact(IMPROVE, contract.TUNED):
        ends = (tuned[name] for name in ("value", "low", "high"))
        yield RIGHT_PANEL, TUNED, tuned["labels"], *ends, right.run(IMPROVE).id


def plot(points: pd.DataFrame, goal: float, title: str) -> None:
    """Show what `bought` returned, and the goal."""
    show(*_drawn(points, goal, title))


def html(points: pd.DataFrame, goal: float, title: str) -> str:
    """Return what `plot` shows."""
    return figure_html(*_drawn(points, goal, title))


def crossings(points: pd.DataFrame) -> list[str]:
    """Say of each model that needs no label up to how many labels it is ahead of fitted models.

    Ahead is whose whole interval lies above the other's.
    """
    metric = points.attrs.get("metric")
    if metric is None or points.empty:
        return []
    sign, sentences = metric.sign, []
    fitted = _best_fitted(points[points["panel"] == LEFT], sign)
    for row in points[(points["panel"] == RIGHT_PANEL) & (points["labels"] == 0)].itertuples():
        if len(fitted):
            sentences.append(_crossing(row, fitted, sign))
    return sentences


def _best_fitted(fitted: pd.DataFrame, sign: int) -> pd.DataFrame:
    """Return the best fitted model at each number of labels, as far as one was tried."""
    fitted = fitted[fitted["way"] != FITTED] if (fitted["way"] != FITTED).any() else fitted
    order = fitted.assign(rank=sign * fitted["value"]).sort_values("rank")
    return order.groupby("labels").tail(1).sort_values("labels")


def _crossing(row, fitted: pd.DataFrame, sign: int) -> str:
    """Return where the lines of one model and of the best fitted ones cross, in words."""
    ends = ["low", "high"][::sign]  # the worse and the better end
    worse, better = (sign * getattr(row, end) for end in ends)
    behind = fitted[sign * fitted[ends[1]] < worse]
    ahead = fitted[sign * fitted[ends[0]] > better]
    start = f"{row.way} without a label ({row.value:.3f}, {row.low:.3f} to {row.high:.3f})"
    most = int(fitted["labels"].max())
    if behind["labels"].max() == most:
        return f"{start} is ahead of every fitted model up to all {most:,} labels."
    parts = []
    if len(behind):
        parts.append(f"ahead of every fitted model up to {int(behind['labels'].max()):,} labels")
    above = ahead[ahead["labels"] > (behind["labels"].max() if len(behind) else -1)]
    place = _meets(row, fitted, sign)
    if place:
        parts.append(f"the lines cross at about {place:,} labels")
    if len(above):
        first = above.iloc[0]
        parts.append(f"from {int(first['labels']):,} labels on {first['way']} is ahead")
    elif not place:
        parts.append(f"no fitted model is ahead with evidence, with up to {most:,} labels")
    return f"{start}: {'; '.join(parts)}."


def _meets(row, fitted: pd.DataFrame, sign: int) -> int:
    """Return the number of labels, of two figures, at which the values are equal; 0 if at none."""
    gap = sign * (fitted["value"].to_numpy() - row.value)
    labels = fitted["labels"].to_numpy(float)
    for k in range(1, len(gap)):
        if gap[k - 1] < 0 <= gap[k]:
            share = -gap[k - 1] / (gap[k] - gap[k - 1])
            at = float(np.exp(np.log(labels[k - 1]) * (1 - share) + np.log(labels[k]) * share))
            return int(round(at, 1 - math.floor(math.log10(at))))
    return 0


@styled
def _drawn(points: pd.DataFrame, goal: float, title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    fig, axes = figure(380)
    metric = points.attrs.get("metric")
    title_of = metric.title if metric else "quality"
    axes.set(xlabel="labels", ylabel=f"{title_of} on the test set")
    axes.set_xscale("symlog", linthresh=1)  # zero labels are a point too
    axes.axhline(goal, color="gray", linestyle=":", linewidth=1.2, label=f"the goal, {goal:g}")
    for panel, lines in points.groupby("panel", sort=False):
        for number, (way, line) in enumerate(lines.groupby("way", sort=False)):
            line = line.sort_values("labels")
            marker, color = MARKERS[number % len(MARKERS)], COLORS[panel]
            style = ("-", "--", ":", "-.")[number % 4] if len(line) > 1 else ""
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
