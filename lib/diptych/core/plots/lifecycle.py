"""Where a stage stands in its lifecycle, what comes in and what goes out, as one picture."""

import textwrap
from typing import Any

import pandas as pd

from diptych.core.plots.html import show
from diptych.core.plots.style import FAINT, SERIES, figure, styled

STAGES = {  # name: what comes in, what goes out
    "mlops/1_data": (
        "a table: file, URL or built-in task",
        "checked rows, split once, under a version number",
    ),
    "mlops/2_build": (
        "the version of the rows that passed the checks",
        "a fitted model, and its figures on rows it has not seen",
    ),
    "mlops/3_release": (
        "the best candidate, and the champion in service",
        "a registered version; the champion, if it passes the gate",
    ),
    "mlops/4_serve": (
        "a registered version, and live rows in the order of time",
        "answers, each on record; latency and throughput",
    ),
    "mlops/5_monitor": (
        "the prediction log, the reference, late labels",
        "alarms: drift, and loss of quality",
    ),
    "mlops/6_improve": (
        "an alarm, and newly labelled rows",
        "a challenger: promoted or refused; then data again",
    ),
    "llmops/0_pretrain": (
        "a corpus of sentences",
        "a small language model with its card",
    ),
    "llmops/1_data": (
        "the same rows, and the prompts as files",
        "prompts and examples under versions, tokens counted",
    ),
    "llmops/2_build": (
        "prompts, models, numbers of examples",
        "a leaderboard of answers, and the selected variant",
    ),
    "llmops/3_release": (
        "the selected prompt with its model",
        "a registered prompt version, if it passes the gate",
    ),
    "llmops/4_serve": (
        "a released prompt, and live rows in the order of time",
        "streamed answers, each on record with its price",
    ),
    "llmops/5_monitor": (
        "the ledger of calls, late labels, sources",
        "alarms: quality, refusals, cost, unsupported answers",
    ),
    "llmops/6_improve": (
        "an alarm, and newly labelled rows",
        "a new prompt, examples or adapter: promoted or refused",
    ),
}
WIDE = 38  # characters of a line below the boxes


def show_stage(name: str) -> None:
    """Show the lifecycle of a panel with one stage picked out.

    Parameters
    ----------
    name : str
        A key of `STAGES`, such as ``"mlops/2_build"``.

    Raises
    ------
    ValueError
        If there is no such stage.
    """
    if name not in STAGES:
        raise ValueError(f"name: {name!r} is no stage; take one of {', '.join(STAGES)}")
    stages = _panel(name)
    labels = [stage.partition("/")[2].replace("_", " ") for stage in stages]
    at = stages.index(name)
    rows = [(label, *STAGES[stage]) for label, stage in zip(labels, stages, strict=True)]
    comes, goes = STAGES[name]
    alt = (
        f"The stages {', '.join(labels)} in a row, from the last of which an arrow leads back; "
        f"{labels[at]} is picked out. In comes {comes}. Out goes {goes}."
    )
    table = pd.DataFrame(rows, columns=["stage", "comes in", "goes out"])
    show(_drawn(labels, at, comes, goes), alt, table)


def _panel(name: str) -> list[str]:
    panel = name.partition("/")[0]
    return [stage for stage in STAGES if stage.startswith(f"{panel}/")]


@styled
def _drawn(labels: list[str], at: int, comes: str, goes: str) -> Any:
    """Draw the boxes, the way between them, and what goes in and out of one."""
    from matplotlib.patches import FancyBboxPatch

    fig, axes = figure(132)
    size = 72 / len(labels)  # points
    axes.set(xlim=(-0.5, len(labels) - 0.5), ylim=(-1.75, 1.1))
    axes.set_axis_off()
    for place, label in enumerate(labels):
        here = place == at
        box = FancyBboxPatch(
            (place - 0.38, -0.2), 0.76, 0.55, boxstyle="round,pad=0,rounding_size=0.06",
            edgecolor=SERIES[0] if here else "black", linewidth=2.5 if here else 1,
            facecolor=(SERIES[0], FAINT) if here else "none",
        )  # fmt: skip
        axes.add_patch(box)
        axes.text(place, 0.075, label, ha="center", va="center", size=size)
        if place:
            _arrow(axes, (place - 0.62, 0.075), (place - 0.38, 0.075))
    _arrow(axes, (len(labels) - 1, 0.35), (0, 0.35), bent=0.09)
    for side, words, x in (("left", comes, -0.38), ("right", goes, len(labels) - 0.62)):
        title = {"left": "comes in", "right": "goes out"}[side]
        lines = textwrap.fill(words, WIDE)
        axes.text(x, -0.5, title, ha=side, va="top", color=SERIES[0], size=size)
        axes.text(x, -0.88, lines, ha=side, va="top", color="black", size=11.5)
    return fig


def _arrow(axes: Any, start: Any, end: Any, bent: float = 0.0) -> None:
    style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1, "shrinkA": 1, "shrinkB": 1}
    if bent:
        style["connectionstyle"] = f"arc3,rad={bent}"
    axes.annotate("", end, start, arrowprops=style)
