"""The cascade: the classifier answers where it is sure, the language model where it is not.

It costs no new call: both have answered every row. The threshold is chosen on validation rows
alone (as FrugalGPT does: Chen, Zaharia and Zou 2023, arXiv 2305.05176).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core.evaluation import fairness
from diptych.core.evaluation.graders import LABEL
from diptych.core.evaluation.metrics import LABELS, Metric
from diptych.core.evaluation.stats import Estimate
from diptych.core.plots.html import figure_html, show
from diptych.core.plots.style import MARKERS, SERIES, figure, styled
from diptych.reporting.contrast.evidence import scored
from diptych.reporting.contrast.way import CASCADE, FEWEST, Way

LEAST = 20  # validation rows by which a threshold can be chosen
POINTS = 21  # of the curve


@dataclass(frozen=True)
class Cascade:
    """One cascade.

    Attributes
    ----------
    way : Way
    threshold : float
        Below it the language model answers.
    share : float
        Share of the test rows that it answered.
    curve : DataFrame
        ``threshold``, ``share``, ``value``, ``cpu_ms`` on the test rows, over all thresholds.
    """

    way: Way
    threshold: float
    share: float
    curve: pd.DataFrame


def of(classifiers: Sequence[Way], models: Sequence[Way], metric: Metric) -> list[Cascade]:
    """Return the cascade of each language model behind the best classifier, by validation rows.

    Of a model's prompts the one that was best on validation rows. None where labels are not
    compared, or a side has no validation rows, or where the classifier answers every row itself.
    """
    usable = [way for way in classifiers if _is_sure(way)]
    if metric.needs != LABELS or not usable:
        return []
    first = max(usable, key=lambda way: way.validated)
    chosen: dict[str, Way] = {}
    for way in models:
        before = chosen.get(way.model)
        if way.validation is not None and (before is None or way.validated > before.validated):
            chosen[way.model] = way
    cascades = [_cascade(first, way, metric) for way in chosen.values()]
    return [one for one in cascades if one is not None and one.share]


def _is_sure(way: Way) -> bool:
    if way.validation is None or way.rows.empty or (way.rows["grader"] != LABEL).any():
        return False
    return all(rows["confidence"].notna().all() for rows in (way.rows, way.validation))


def _cascade(first: Way, second: Way, metric: Metric) -> Cascade | None:
    valid = _common(first.validation, second.validation)
    test = _common(first.rows, second.rows)
    if len(valid) < LEAST or len(test) < FEWEST:
        return None
    tried = [-math.inf, *np.unique(first.validation.loc[valid, "confidence"]), math.inf]
    values = [
        _value(_mixed(first.validation, second.validation, valid, at), metric) for at in tried
    ]
    chosen = tried[int(np.nanargmax(metric.sign * np.array(values)))]  # the first: fewest calls
    rows = _mixed(first.rows, second.rows, test, chosen)
    by_hand = None
    if first.by_hand is not None and second.by_hand is not None:
        same = _common(first.by_hand, second.by_hand)
        by_hand = _mixed(first.by_hand, second.by_hand, same, chosen)
    share = float((first.rows.loc[test, "confidence"] < chosen).mean())
    way = Way(
        f"cascade: {first.name}, then {second.name}", CASCADE, rows, second.run,
        labels=max(first.labels, second.labels), by_hand=by_hand,
        validation=_mixed(first.validation, second.validation, valid, chosen),
        cpu_ms=_cost(first, second, share), model=second.model,
        where=f"{share:.0%} of the rows go to the language model; its part {second.where}",
    )  # fmt: skip
    return Cascade(way, chosen, share, _curve(first, second, test, metric))


def _common(one: pd.DataFrame, other: pd.DataFrame) -> pd.Index:
    return one.index.intersection(other.index).sort_values()


def _mixed(first: pd.DataFrame, second: pd.DataFrame, ids: pd.Index, at: float) -> pd.DataFrame:
    """Return the second's answer to each row of which the first is less sure than `at`."""
    sure = (first.loc[ids, "confidence"] >= at).to_numpy()
    mixed = pd.concat([first.loc[ids[sure]], second.loc[ids[~sure]]]).loc[ids]
    return mixed.assign(probabilities=None)


def _value(rows: pd.DataFrame, metric: Metric) -> float:
    return fairness.figure(metric, scored(rows, rows, metric)).value


def _cost(first: Way, second: Way, share: float) -> Estimate | None:
    """Return the CPU time of an answer; its interval is that of a sum (Zou and Donner 2008)."""
    each, more = first.cpu_ms, second.cpu_ms
    if each is None or more is None:
        return None
    value = each.value + share * more.value
    below = math.hypot(each.value - each.low, share * (more.value - more.low))
    above = math.hypot(each.high - each.value, share * (more.high - more.value))
    return Estimate(value, value - below, value + above, min(each.n, more.n))


def _curve(first: Way, second: Way, test: pd.Index, metric: Metric) -> pd.DataFrame:
    """Return what every threshold reaches on the test rows, and what it takes."""
    sure = first.rows.loc[test, "confidence"]
    places = np.unique(np.quantile(sure, np.linspace(0, 1, POINTS)))
    lines = []
    for at in [*places, math.inf]:
        share, cost = float((sure < at).mean()), None
        value = _value(_mixed(first.rows, second.rows, test, at), metric)
        cost = _cost(first, second, share)
        lines.append((at, share, value, math.nan if cost is None else cost.value))
    return pd.DataFrame(lines, columns=["threshold", "share", "value", "cpu_ms"])


def plot(cascades: Sequence[Cascade], title: str) -> None:
    """Show quality against cost over all thresholds, of each cascade."""
    if cascades:
        show(*_drawn(cascades, title))


def html(cascades: Sequence[Cascade], title: str) -> str:
    """Return what `plot` shows, "" where there is no cascade."""
    return figure_html(*_drawn(cascades, title)) if cascades else ""


@styled
def _drawn(cascades: Sequence[Cascade], title: str) -> tuple:
    """Return the figure, its description, its data and its caption."""
    fig, axes = figure(300)
    axes.set(xlabel="share of rows that the language model answers", ylabel="on the test rows")
    for number, one in enumerate(cascades):
        name = one.way.name.rpartition("then ")[2]
        marker, line = MARKERS[number % len(MARKERS)], ("-", "--", ":", "-.")[number % 4]
        curve = one.curve.sort_values("share")
        axes.plot(curve["share"], curve["value"], line, color=SERIES[2], label=name)
        at = float(np.interp(one.share, curve["share"], curve["value"]))
        axes.plot(one.share, at, marker, color=SERIES[2], markersize=9)
    fig.legend(loc="outside upper left", ncols=2)
    table = pd.concat([one.curve.assign(cascade=one.way.name) for one in cascades])
    chosen = "; ".join(f"{one.way.name}: {one.share:.0%}" for one in cascades)
    alt = f"Cascades, {title}. The threshold chosen on validation rows sends: {chosen}."
    caption = "Cascades over all thresholds; marked: the one chosen on validation rows"
    return fig, alt, table.iloc[:: max(1, len(table) // 40)], caption
