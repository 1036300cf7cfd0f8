"""The reaction to drift over time: what was in service and what was to replace it, by window."""

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import IMPROVE, MONITOR
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import figure, styled
from diptych.reporting.contrast.evidence import Panel
from diptych.reporting.contrast.frontier import COLORS
from diptych.reporting.contrast.way import SIDES

STYLES = {"champion": ":", "challenger": "-"}


def by_window(left: Panel, right: Panel) -> pd.DataFrame:
    """Return the metric of each side's champion and challenger on each window.

    Returns
    -------
    DataFrame
        ``panel``, ``window``, ``model``, ``value``, ``low``, ``high``. The attribute ``alarms``
        holds the window of each side's first drift alarm.
    """
    frames, alarms = [], {}
    for panel in (left, right):
        outcome = panel.table(IMPROVE, contract.OUTCOME)
        if outcome is not None:
            frames.append(outcome.assign(panel=panel.name))
            alarms[panel.name] = panel.fact(MONITOR, contract.DRIFT_ALARM)
    columns = ["panel", "window", "model", "value", "low", "high"]
    table = pd.concat(frames) if frames else pd.DataFrame(columns=columns)
    table = table[columns].dropna(subset="value").reset_index(drop=True)
    table.attrs["alarms"] = alarms
    return table


def plot(table: pd.DataFrame, title: str) -> None:
    """Show what `by_window` returned."""
    if len(table):
        show(*_drawn(table, title))


def html(table: pd.DataFrame, title: str) -> str:
    """Return what `plot` shows, "" where nobody reacted."""
    return figure_html(*_drawn(table, title)) if len(table) else ""


@styled
def _drawn(table: pd.DataFrame, title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    fig, axes = figure(320)
    windows = sorted(table["window"].unique())
    places = {name: place for place, name in enumerate(windows)}
    words = []
    for number, ((side, model), line) in enumerate(table.groupby(["panel", "model"], sort=False)):
        at = line["window"].map(places) + 0.08 * (number - 1.5)
        color, name = COLORS[side], f"{SIDES[side]}, {model}"
        axes.vlines(at, line["low"], line["high"], color=color, linewidth=1)
        axes.plot(at, line["value"], STYLES.get(model, "--"), marker="o", color=color, label=name)
        words.append(f"{name} ends at {line['value'].iloc[-1]:.3f}")
    for side, window in table.attrs["alarms"].items():
        if window in places:
            axes.axvline(places[window], color=COLORS[side], linewidth=1, linestyle="--")
    step = -(-len(windows) // 5)  # names of months, in a picture of half the width
    axes.set_xticks(np.arange(len(windows))[::step], windows[::step])
    axes.set(xlabel="window", ylabel="the task's metric")
    fig.legend(loc="outside upper left", ncols=2)
    caption = (
        "Champion and challenger by window, 95 % intervals; dashed upright: the first drift alarm"
    )
    return fig, f"The reaction to drift, {title}: {'; '.join(words)}.", table, caption
