"""How shares are compared: quality, and what is lost under stress, from recorded runs alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diptych.core import contract
from diptych.core.contract import BUILD, IMPROVE, MONITOR, Table
from diptych.core.data.perturb import MARK
from diptych.core.evaluation import fairness, stats
from diptych.core.evaluation.calibration import error as calibration_error
from diptych.core.evaluation.graders import LABEL, RIGHT
from diptych.core.evaluation.metrics import Metric, MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import Estimate
from diptych.core.monitoring.sequential import in_units
from diptych.reporting.contrast.evidence import Figure, Panel, is_perturbed, metric_of, scored


@dataclass(frozen=True)
class Assumptions:
    """What the runs cannot tell, each a parameter of the contrast.

    Attributes
    ----------
    margin : float
        Differences of a share within it are a tie.
    ratio : float
        Amounts that differ by less than this share of the larger one are a tie.
    goal : float
        The figure of the task's metric to reach, for which the labels are counted.
    usd_per_cpu_hour : float
    seed : int
        Of the bootstrap.
    """

    margin: float = 0.02
    ratio: float = 0.1
    goal: float = 0.9
    usd_per_cpu_hour: float = 0.04
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """Both figures of a dimension, None where a panel did not measure it.

    Attributes
    ----------
    difference : Estimate or None
        Of shares: MLOps less LLMOps, where it has an interval.
    ratio : Estimate or None
        Of amounts: how many times LLMOps' goes into that of MLOps, where it has an interval.
    p : float or None
        Of McNemar's exact test, where rows are right or wrong.
    margin : float or None
        What a tie is in the metric's units, where that is not the assumption itself.
    refused : str
        Why nothing was measured, "" where runs are missing.
    undecided : str
        Why the rows decide nothing, whatever the figures are.
    """

    left: Figure | None = None
    right: Figure | None = None
    difference: Estimate | None = None
    ratio: Estimate | None = None
    p: float | None = None
    margin: float | None = None
    refused: str = ""
    undecided: str = ""


def quality(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare by the task's metric on the test rows that both sides answered."""
    return _on_rows(left, right, assumptions, "rows", _ids(right, contract.RESULTS))


def on_slice(rows: pd.Index) -> Callable:
    """Return a measure of the quality on the test rows of one slice."""

    def measure(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
        ids = _ids(right, contract.RESULTS)
        return _on_rows(left, right, assumptions, "rows", ids, within=rows)

    return measure


def hand_written(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare by the task's metric on the hand-written test set."""
    ids = _ids(right, contract.HAND_WRITTEN_RESULTS)
    return _on_rows(left, right, assumptions, "by_hand", ids)


def _ids(panel: Panel, table: Table) -> pd.Index:
    """Return the ids of a table's rows, the perturbed ones left out."""
    frame = panel.table(BUILD, table)
    ids = pd.Index([] if frame is None else frame["id"].astype(str).unique(), dtype=object)
    return ids[~is_perturbed(ids)] if len(ids) else ids


def _on_rows(
    left: Panel,
    right: Panel,
    assumptions: Assumptions,
    part: str,
    ids: pd.Index,
    *,
    within: pd.Index | None = None,
) -> Measured:
    """Compare on the same rows; a panel that has none of them has no figure.

    Parameters
    ----------
    ids : Index of str
        Those that the panels may have answered; of a model that stands for a side its own count.
    within : Index of str, optional
        The only rows that count, all by default.
    """
    metric, refused = metric_of(left, right)
    if refused:
        return Measured(refused=refused)
    if left.representative is None and right.representative is not None:
        known = right.answered(part, ids)
        ids = ids[:0] if known is None else known.index
    panels = left, right
    lines = [panel.answered(part, ids) for panel in panels]
    if within is not None:
        lines = [one if one is None else one[one.index.isin(within)] for one in lines]
    if metric is None or any(one is None or len(one) < 2 for one in lines):
        return Measured(*(_figure(*pair, metric) for pair in zip(panels, lines, strict=True)))
    same = lines[0].index.intersection(lines[1].index).sort_values()
    if len(same) < 2:
        return Measured()
    return _paired(panels, [one.loc[same] for one in lines], metric, assumptions)


def _known(panel: Panel, rows: pd.Index) -> pd.Index:
    """Return those of some rows that the selected model or prompt has answered."""
    return rows[:0] if panel.lines is None else rows.intersection(panel.lines.index)


def right_share(left: Panel, right: Panel) -> list[Estimate | None]:
    """Return each panel's share of right answers on the test rows that both answered."""
    test = _ids(right, contract.RESULTS)
    both = _known(left, test).intersection(_known(right, test))
    shares = []
    for panel in (left, right):
        rows = both if len(both) else _known(panel, test)
        right_ones = int((panel.lines["score"][rows] >= RIGHT).sum()) if len(rows) else 0
        shares.append(stats.wilson(right_ones, len(rows)) if len(rows) else None)
    return shares


def _scored(panel: Panel, lines: pd.DataFrame, metric: Metric) -> ScoredRows:
    chosen = panel.representative
    return scored(lines, panel.lines if chosen is None else chosen.rows, metric)


def _figure(panel: Panel, lines: pd.DataFrame | None, metric: Metric | None) -> Figure | None:
    if metric is None or lines is None or len(lines) < 2:
        return None
    estimate = fairness.figure(metric, _scored(panel, lines, metric))
    if not math.isfinite(estimate.value):
        return None
    chosen = panel.representative
    if chosen is None:
        return Figure.of(estimate, panel.run(BUILD).id, note=_share_of_run(panel, lines))
    return Figure.of(estimate, chosen.run, note=f"{chosen.name}; {chosen.where}")


def _share_of_run(panel: Panel, lines: pd.DataFrame) -> str:
    """Say why a figure is not that of its run: the run has more rows of the kind, "" if not."""
    rows = panel.lines.index[~is_perturbed(panel.lines.index)]
    by_hand = rows.str.startswith("hw-") == lines.index[0].startswith("hw-")
    every = int(by_hand.sum())
    return f"on {len(lines):,} of the {every:,} rows of its run" if len(lines) < every else ""


def _paired(panels: tuple, lines: list, metric: Metric, assumptions: Assumptions) -> Measured:
    """Compare both panels' answers to the same rows, row by row."""
    a, b = (_scored(panel, rows, metric) for panel, rows in zip(panels, lines, strict=True))
    for rows in (a, b):
        if note := _why_no_figure(metric, rows):
            return Measured(refused=note)
    figures = [_figure(*pair, metric) for pair in zip(panels, lines, strict=True)]
    margin = in_units(assumptions.margin, metric, figures[1].value)
    better = metric.improvement(a, b)
    if better.note:
        return Measured(*figures, undecided=better.note)
    ends = sorted(metric.sign * end for end in (better.low, better.high))
    gap = Estimate(metric.sign * better.value, *ends, better.n)
    p = metric.p_value(a, b)
    return Measured(*figures, gap, p=None if math.isnan(p) else p, margin=margin)


def _why_no_figure(metric: Metric, rows: ScoredRows) -> str:
    measured = fairness.figure(metric, rows)
    return "" if math.isfinite(measured.value) else measured.note


def drop_under(perturbation: str) -> Callable:
    """Return a measure of what the metric loses under a perturbation, each row against itself."""

    def measure(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
        metric, refused = metric_of(left, right)
        if refused or metric is None:
            return Measured(refused=refused)
        panels = left, right
        rows = [_perturbed(panel, perturbation) for panel in panels]
        if all(len(ids) for ids in rows):
            rows = [rows[0].intersection(rows[1]).sort_values()] * 2
        pairs = [
            (panel.scored(ids, metric), panel.scored(ids + MARK + perturbation, metric))
            if len(ids) > 1
            else None
            for panel, ids in zip(panels, rows, strict=True)
        ]
        try:
            return _drops(panels, pairs, metric, assumptions)
        except MetricError as error:
            return Measured(refused=str(error))

    return measure


def _drops(panels: tuple, pairs: list, metric: Metric, assumptions: Assumptions) -> Measured:
    """Compare what both panels lose; a pair is the rows as they were, and perturbed."""
    lost = [None if pair is None else metric.drop(*pair) for pair in pairs]
    figures = [
        None
        if drop is None or not math.isfinite(drop.value)
        else Figure.of(drop, panel.run(BUILD).id)
        for drop, panel in zip(lost, panels, strict=True)
    ]
    if None in figures:
        return Measured(*figures, undecided=" ".join(dict.fromkeys(d.note for d in lost if d)))
    apart = metric.apart(*pairs)
    margin = in_units(assumptions.margin, metric, metric.figure(pairs[1][0]))
    if apart.note:
        return Measured(*figures, undecided=apart.note)
    return Measured(*figures, Estimate(apart.value, apart.low, apart.high, apart.n), margin=margin)


def _perturbed(panel: Panel, perturbation: str) -> pd.Index:
    """Return the ids of rows that were answered as they were and perturbed."""
    ids = pd.Index([] if panel.lines is None else panel.lines.index, dtype=object)
    after = ids[ids.astype(str).str.endswith(MARK + perturbation)] if len(ids) else ids
    return ids.intersection(after.str.removesuffix(MARK + perturbation)) if len(after) else after


def drift(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what the metric lost since the drift alarm, in the windows whose labels are in."""
    metric, refused = metric_of(left, right)
    if refused:
        return Measured(refused=refused)
    sign = metric.sign if metric else 1
    figures = [_since_alarm(panel, sign) for panel in (left, right)]
    return Measured(*figures, _apart(*figures))


def _since_alarm(panel: Panel, sign: int) -> Figure | None:
    before = panel.value(MONITOR, contract.TRUE_BEFORE)
    since = panel.value(MONITOR, contract.TRUE_SINCE)
    if not (before and since and before.estimate and since.estimate):
        return None
    pair = (before.estimate, since.estimate)[::sign]
    lost = stats.unpaired_difference(*pair)
    alarm = panel.fact(MONITOR, contract.DRIFT_ALARM)
    note = f"alarm in {alarm}" if alarm else ""
    return Figure(lost.value, before.runs, lost.low, lost.high, note=note)


def _apart(left: Figure | None, right: Figure | None) -> Estimate | None:
    if not (left and right and left.estimate and right.estimate):
        return None
    return stats.unpaired_difference(left.estimate, right.estimate)


def afterwards(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare what was in service after the reaction to drift, on rows that came later."""
    if refused := metric_of(left, right)[1]:
        return Measured(refused=refused)
    figures = _afterwards(left), _afterwards(right)
    return Measured(*figures, _apart(*figures))


def _afterwards(panel: Panel) -> Figure | None:
    promoted = panel.fact(IMPROVE, contract.WAS_PROMOTED)
    if promoted is None:
        return None
    if promoted:
        note = "what was retrained or rewritten"
        return panel.value(IMPROVE, contract.CHALLENGER_AFTERWARDS, note=note)
    note = "the champion of before, which nothing beat"
    return panel.value(IMPROVE, contract.CHAMPION_AFTERWARDS, note=note)


def calibration(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the calibration error on the same rows: its size depends on how many there are."""
    both = _known(left, _ids(right, contract.RESULTS))
    both = both.intersection(_known(right, both)).sort_values()
    pairs = [_sure_and_right(panel, both) for panel in (left, right)]
    if None in pairs or len(both) < 2:
        return Measured()
    figures = []
    for panel, (sure, correct) in zip((left, right), pairs, strict=True):
        error = calibration_error(sure, correct)
        if error.note:
            return Measured(refused=error.note)
        ends = error.low, error.high, error.n
        note = "debiased, on the same rows"
        figures.append(Figure(error.value, (panel.run(BUILD).id,), *ends, note=note))
    return Measured(*figures, _apart(*figures))


def _sure_and_right(panel: Panel, ids: pd.Index) -> tuple[np.ndarray, np.ndarray] | None:
    """Return confidence and rightness of some rows; None where a confidence is missing."""
    if panel.lines is None or not len(ids):
        return None
    rows = panel.lines.loc[ids]
    sure = rows["confidence"].to_numpy(float)
    if (rows["grader"] != LABEL).any() or not np.isfinite(sure).all():
        return None
    return sure, (rows["score"] >= RIGHT).to_numpy(float)


def instability(left: Panel, right: Panel, assumptions: Assumptions) -> Measured:
    """Compare the share of rows whose answer changes when they are repeated."""
    figures = [panel.value(BUILD, contract.ANSWER_INSTABILITY) for panel in (left, right)]
    return Measured(*figures, _apart(*figures))
