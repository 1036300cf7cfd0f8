"""From how many requests a month on a model of one's own is cheaper than an API."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import DATA, LLMOPS, MLOPS
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, figure, styled
from diptych.core.store.prices import Price
from diptych.reporting.contrast.amounts import TOGETHER, common_level, cost
from diptych.reporting.contrast.evidence import Panel
from diptych.reporting.contrast.frontier import COLORS
from diptych.reporting.contrast.measures import Assumptions

OWN, LOCAL = "a model of your own", "the local language model"


@dataclass(frozen=True)
class Workload:
    """What a model of one's own takes besides compute; each is a parameter of the contrast.

    Attributes
    ----------
    usd_per_label : float
    build_hours, usd_per_hour : float
        Hours of work until it runs, beyond those that a prompt takes, and their price.
    months : int
        Over which labels and work are written off.
    cpus : int
        Of the machine that serves it and is paid by the hour, used or not.
    """

    usd_per_label: float = 0.05
    build_hours: float = 40.0
    usd_per_hour: float = 60.0
    months: int = 12


def forecast(right: Panel, models: Sequence[str]) -> pd.DataFrame:
    """Return what 1,000 answers would cost of other models, from the tokens that were measured.

    A forecast: each model's own vocabulary gives the same text another number of tokens, and what
    it would answer was not measured.

    Parameters
    ----------
    models : sequence of str
        ``provider/model``, as genai-prices names them.

    Returns
    -------
    DataFrame
        ``model``, ``tokens in``, ``tokens out`` (an answer), ``usd`` (1,000 answers; NaN where no
        price is known) and ``source``; without lines where no tokens were measured.
    """
    columns = ["model", "tokens in", "tokens out", "usd", "source"]
    answers = right.answers()
    if answers is None or answers[["prompt_tokens", "completion_tokens"]].isna().any(axis=None):
        return pd.DataFrame(columns=columns)
    tokens = [float(answers[name].mean()) for name in ("prompt_tokens", "completion_tokens")]
    lines = []
    for model in models:
        provider, _, name = model.partition("/")
        price = Price(provider, name).facts()
        each = [price["input_usd"], price["output_usd"]]
        usd = math.nan if None in each else float(np.dot(tokens, each)) / 1000
        lines.append((model, *tokens, usd, price["source"]))
    return pd.DataFrame(lines, columns=columns)


def monthly(
    left: Panel,
    right: Panel,
    prices: pd.DataFrame,
    volumes: Sequence[float],
    workload: Workload,
    assumptions: Assumptions,
) -> pd.DataFrame:
    """Return dollars a month by option and number of requests a month.

    An answer costs what the line "cost of 1,000 answers" says: the compute it takes here, or its
    tokens. A model of one's own costs its labels and work as well.

    Returns
    -------
    DataFrame
        ``option``, ``requests``, ``usd``; without lines where MLOps did not record both its labels
        and what an answer takes.
    """
    columns = ["option", "requests", "usd"]
    level = common_level(left, right, TOGETHER)
    fixed, each = fixed_usd(left, workload), cost(left, level, assumptions)
    if fixed is None or each is None:
        return pd.DataFrame(columns=columns)
    thousand = {OWN: (fixed, each.value)}
    local = cost(right, level, assumptions) if right.is_local else None
    if local is not None:
        thousand[LOCAL] = (0.0, local.value)
    for row in prices.dropna(subset="usd").itertuples():
        thousand[row.model] = (0.0, row.usd)
    lines = [(name, n, once + n * usd / 1000) for name, (once, usd) in thousand.items()
             for n in volumes]  # fmt: skip
    return pd.DataFrame(lines, columns=columns)


def fixed_usd(left: Panel, workload: Workload) -> float | None:
    """Return the dollars a month that labels and work come to, None if labels are not recorded."""
    labels = left.value(DATA, contract.TRAIN_ROWS)
    if labels is None:
        return None
    work = workload.build_hours * workload.usd_per_hour
    return (labels.value * workload.usd_per_label + work) / workload.months


def crossings(costs: pd.DataFrame) -> pd.DataFrame:
    """Return from how many requests a month on a model of one's own costs less than each option.

    Both costs are straight lines in the number of requests, so they meet once at most.

    Returns
    -------
    DataFrame
        ``option`` and ``requests``: 0 where it is cheaper from the start, infinite where an answer
        of it costs no less.
    """
    lines, ours = [], costs[costs["option"] == OWN].set_index("requests")["usd"]
    for name, other in costs[costs["option"] != OWN].groupby("option", sort=False):
        gap = (ours - other.set_index("requests")["usd"]).sort_index()
        n, g = gap.index[[0, -1]].to_numpy(float), gap.iloc[[0, -1]].to_numpy()
        slope = (g[1] - g[0]) / (n[1] - n[0])
        lines.append((name, max(0.0, n[0] - g[0] / slope) if slope < 0 else math.inf))
    return pd.DataFrame(lines, columns=["option", "requests"])


def volumes(most: float, points: int = 49) -> np.ndarray:
    """Return numbers of requests a month from 1,000 to `most`, each a step above the one before."""
    return np.unique(np.round(np.geomspace(1_000, most, points)))


def plot(costs: pd.DataFrame, title: str) -> None:
    """Show dollars a month by requests a month, and where a model of one's own gets cheaper."""
    show(*_drawn(costs, title))


def html(costs: pd.DataFrame, title: str) -> str:
    """Return what `plot` shows."""
    return figure_html(*_drawn(costs, title))


@styled
def _drawn(costs: pd.DataFrame, title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    fig, axes = figure(340)
    axes.set(xscale="log", yscale="log", xlabel="requests a month", ylabel="US dollars a month")
    crossed = crossings(costs).set_index("option")["requests"]
    for number, (name, line) in enumerate(costs.groupby("option", sort=False)):
        color = COLORS[MLOPS if name == OWN else LLMOPS]
        style = ("-", "--", ":", "-.")[number % 4]
        axes.plot(line["requests"], line["usd"], style, color=color, label=name)
        if 0 < crossed.get(name, 0) < math.inf:
            at = float(np.interp(crossed[name], line["requests"], line["usd"]))
            axes.plot(crossed[name], at, MARKERS[number % len(MARKERS)], color=color, markersize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.minorticks_off()
    fig.legend(loc="outside upper left", ncols=2)
    summary = "; ".join(crossing_words(name, n) for name, n in crossed.items())
    table = costs.pivot_table(index="requests", columns="option", values="usd", sort=False)
    shown = table.iloc[:: max(1, len(table) // 12)].reset_index()
    alt = f"Dollars a month by requests a month, {title}: {summary}."
    return fig, alt, shown, "Dollars a month by requests a month, both axes logarithmic"


def crossing_words(option: str, requests: float) -> str:
    """Return one crossing in words."""
    if math.isinf(requests):
        return f"an answer of {option} costs no more than one of {OWN}, at any volume"
    if not requests:
        return f"{OWN} is cheaper than {option} at any volume"
    return f"{OWN} is cheaper than {option} from {_round(requests):,} requests a month on"


def _round(value: float) -> int:
    """Return a number with two figures, which is all that the assumptions allow."""
    return int(round(value, 1 - math.floor(math.log10(value)))) if value >= 10 else round(value)
