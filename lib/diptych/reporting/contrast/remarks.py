"""What stands beside an answer: whom it was measured on, and what its line does not show."""

import math
from collections.abc import Sequence

import pandas as pd

from diptych.core.data.schema import are_bare, is_number
from diptych.reporting.contrast import breakeven
from diptych.reporting.contrast.evidence import Panel, metric_of
from diptych.reporting.contrast.questions import OF_QUALITY, Question
from diptych.reporting.contrast.way import MEAN, NAMES, Way
from diptych.reporting.contrast.ways import better, standing_for

BASELINES = (NAMES["baseline"], MEAN)


def of(
    question: Question,
    panels: tuple[Panel, Panel],
    compared: Sequence[Way],
    costs: pd.DataFrame,
    goal: float,
) -> list[str]:
    """Return what a reader of an answer must know besides its line.

    Parameters
    ----------
    compared : sequence of Way
        Every way of the scenario.
    costs : DataFrame
        See `diptych.reporting.contrast.breakeven.monthly`.
    goal : float
        That labels are counted to.
    """
    right, remarks = panels[1], []
    if question.decides in OF_QUALITY:
        remarks += sorted({one.grader.caution for one in panels if one.grader})
        remarks += [_below_baseline(panels, compared), _bare_labels(compared)]
    if question.decides == "labels":
        remarks.append(f"the goal is {goal:g}")
    if question.decides in ("cost", "p50"):
        remarks.append(_compute(right))
    if question.decides == "cost":
        remarks.append(_break_even(costs))
    return [remark for remark in remarks if remark]


def who(right: Panel) -> str:
    """Say that two models stand for LLMOps, "" if one does."""
    chosen = right.representative
    if chosen is None or not right.is_box:
        return ""
    return (
        f"LLMOps is {chosen.name} for quality, which was not put through the gate, and the model "
        "in the box for speed, cost and memory."
    )


def _below_baseline(panels: tuple[Panel, Panel], compared: Sequence[Way]) -> str:
    metric, _ = metric_of(*panels)
    baseline = next((way for way in compared if way.name in BASELINES), None)
    chosen = standing_for(panels[1], compared)
    if metric is None or baseline is None or chosen is None:
        return ""
    gap = better(baseline, chosen, "rows", metric)
    if gap is None or gap.low <= 0:
        return ""
    return f"LLMOps is below the {baseline.name}: no evidence of what language models can do"


def _bare_labels(compared: Sequence[Way]) -> str:
    """Say that labels are no names, which only a model that learns from rows can do without."""
    truth = [way.rows["truth"] for way in compared]
    labels = {label for column in truth if not is_number(column) for label in column.unique()}
    if not are_bare(labels):
        return ""
    return (
        f"the labels are no names ({', '.join(sorted(labels)[:4])}): where no prompt says what "
        "they mean, a language model guesses; name them with read_options, labels=VALUE:NAME"
    )


def _compute(right: Panel) -> str:
    """Return what the model that stands for quality takes, where another was served."""
    chosen = right.representative
    if chosen is None or chosen.cpu_ms is None or not right.is_box:
        return ""
    each, known = chosen.cpu_ms, "measured once"
    if math.isfinite(each.low):
        known = f"{each.low:,.0f} to {each.high:,.0f} on {each.n} rows"
    return f"{chosen.name} takes {each.value:,.0f} ms of compute an answer, {known}"


def _break_even(costs: pd.DataFrame) -> str:
    crossed = breakeven.crossings(costs).set_index("option")["requests"] if len(costs) else {}
    if breakeven.LOCAL not in crossed:
        return ""
    words = breakeven.crossing_words(breakeven.LOCAL, crossed[breakeven.LOCAL])
    return f"with the labels and the work that are assumed, {words}"
