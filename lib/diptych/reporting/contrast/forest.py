"""The forest plot: every compared share and amount with its interval, MLOps to the right."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, SERIES, figure, styled
from diptych.reporting.contrast.dimensions import HIGHER, SHARE
from diptych.reporting.contrast.verdicts import Verdict

# a side's colour where it wins
OF_VERDICT = {"MLOps": (SERIES[0], MARKERS[0]), "LLMOps": (SERIES[1], MARKERS[1])}


def lines(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return what has an interval, turned so that above zero is for MLOps.

    Returns
    -------
    DataFrame
        ``name``, ``kind`` (share or ratio), ``value``, ``low``, ``high`` and ``verdict``. A share
        is a difference; an amount is the logarithm to the base 10 of a ratio.
    """
    rows = []
    for verdict in verdicts:
        dimension, measured = verdict.dimension, verdict.measured
        of_share = dimension.kind == SHARE
        interval = measured.difference if of_share else measured.ratio
        if interval is None or math.isinf(max(measured.left.value, measured.right.value)):
            continue
        ends = [interval.value, interval.low, interval.high]
        if not of_share:
            if min(ends) <= 0 or math.isinf(max(ends)):
                continue
            ends = list(np.log10(ends))
        if dimension.better != HIGHER:
            ends = [-ends[0], -ends[2], -ends[1]]
        rows.append((dimension.name, dimension.kind, *ends, verdict.winner))
    return pd.DataFrame(rows, columns=["name", "kind", "value", "low", "high", "verdict"])


def plot(verdicts: Sequence[Verdict], title: str) -> None:
    """Show what `lines` returns."""
    if len(table := lines(verdicts)):
        show(*_drawn(table, title))


def html(verdicts: Sequence[Verdict], title: str) -> str:
    """Return what `plot` shows, "" where nothing has an interval."""
    table = lines(verdicts)
    return figure_html(*_drawn(table, title)) if len(table) else ""


@styled
def _drawn(table: pd.DataFrame, title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    shares, ratios = (table[table["kind"] == kind] for kind in (SHARE, "ratio"))
    fig, _ = figure(120 + 26 * len(table))
    fig.clear()
    parts = [part for part in (shares, ratios) if len(part)]
    grid = fig.subplots(len(parts), 1, height_ratios=[len(part) + 1 for part in parts])
    for axes, part in zip(np.atleast_1d(grid), parts, strict=True):
        of_share = part["kind"].iloc[0] == SHARE
        places = np.arange(len(part))[::-1]
        axes.axvline(0, color="gray", linewidth=1.2, linestyle=":")
        for place, row in zip(places, part.itertuples(), strict=True):
            color, marker = OF_VERDICT.get(row.verdict, ("gray", "o"))
            axes.hlines(place, row.low, row.high, color=color, linewidth=2)
            axes.plot(row.value, place, marker, color=color)
        axes.set_yticks(places, part["name"])
        axes.set_ylim(-0.7, len(part) - 0.3)
        if of_share:
            axes.set_xlabel("difference in favour of MLOps")
        else:
            axes.set_xlabel("times better: MLOps right, LLMOps left")
            axes.xaxis.set_major_formatter(lambda value, _: f"{10 ** abs(value):.2g}")
    spoken = "; ".join(f"{row.name}: {row.verdict}" for row in table.itertuples(index=False))
    shown = table.drop(columns="kind")
    caption = (
        "To the right of the dotted line MLOps is ahead, to the left LLMOps; 95 % intervals, gray "
        "where none wins"
    )
    return fig, f"Who is ahead, {title}: {spoken}.", shown, caption
