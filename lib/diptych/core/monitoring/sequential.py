"""Looking again and again without crying wolf: how much error each look may spend.

Whoever looks at 20 windows with 95 % intervals sees a false alarm in most streams. Look k spends
alpha * 6 / (pi² k²), which sums to alpha over any number of looks (Bonferroni; Foster and Stine
2008 call it alpha spending).
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diptych.core.evaluation.fairness import figure
from diptych.core.evaluation.metrics import Metric, MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import unpaired_difference
from diptych.core.monitoring import cusum

ALPHA = 0.05
OF_LOOKS = 0.01  # of it for the looks at windows, which need less of it; the CUSUM has the rest
ROWS_IN_ORDER = "rows in order"
COLUMNS = ["window", "since", "value", "low", "high", "n", "change", "highest", "alarm", "reason",
           "by"]  # fmt: skip


def level(look: int, alpha: float = ALPHA) -> float:
    """Return the level of the two-sided interval at one look.

    Parameters
    ----------
    look : int
        1 for the first.
    alpha : float
        Chance of a false alarm over all looks.

    Raises
    ------
    ValueError
        If `look` is below 1.
    """
    if look < 1:
        raise ValueError(f"look is {look}: the first is 1.")
    return 1 - alpha * 6 / (math.pi * look) ** 2


def decision_level(look: int) -> float:
    """Return the level of a decision's intervals when the same labels are looked at again.

    The first decision has 95 %, as everywhere; the chance that any of them lets through what is
    not better, a one-sided error, is at most `ALPHA`. Raises as `level` does.
    """
    return max(0.95, level(look, 2 * ALPHA))


def described(look: int) -> str:
    """Say which look at the same labels a decision is, and what that does to its intervals."""
    at = decision_level(look)
    if look == 1:
        return "The first look at these labels: intervals of differences have 95 %."
    return (
        f"Look {look} at these labels: intervals of differences have {100 * at:.2f} %, not 95 %, "
        "so that trying one candidate after another lets no worse one through."
    )


def in_units(margin: float, metric: Metric, value: float) -> float:
    """Return a margin in the metric's units: a share of the figure where it has no upper end."""
    return margin if math.isfinite(metric.high) else margin * abs(value)


def falls(
    rows: ScoredRows, windows: ArrayLike, reference: ScoredRows, metric: Metric, margin: float
) -> pd.DataFrame:
    """Say at each window whether a metric has fallen below its reference by more than a margin.

    Two figures are looked at when the labels of a window are in: that of the window alone, and
    that of the newest half of all windows together, which is defined where one window alone holds
    hardly a row of a class. A CUSUM over all rows in order, see `cusum.of_metric`, shows the small
    and slow falls that no window shows. The chance of any false alarm is at most `ALPHA`: the
    looks, which are one-sided and have the intervals of `level`, spend `OF_LOOKS` of it, and the
    CUSUM the rest. The error of the reference counts, too.

    Parameters
    ----------
    rows : ScoredRows
        Labelled live rows.
    windows : array of str, shape (n,)
        Their windows, whose names sort in order of time.
    reference : ScoredRows
        Rows on which the figure at release rests, such as the test set.
    margin : float
        A loss that would not matter; a share of the figure of metrics without upper end.

    Returns
    -------
    DataFrame
        ``window``, ``since`` (the first window that counts), ``value``, ``low``, ``high``, ``n``,
        ``change`` (negative is worse), ``highest`` (the upper end of its interval), ``alarm``,
        ``reason`` (why this look decides nothing, else "") and ``by`` (what looked: "window",
        "newest half" or "rows in order"). The line of the last is there if it rang.
    """
    window_of = np.asarray(windows, object)
    names, lines = sorted(set(window_of.tolist())), []
    for look, window in enumerate(names, 1):
        at = level(look, OF_LOOKS)
        for since, by in {names[look // 2]: "newest half", window: "window"}.items():
            recent = rows.take((window_of >= since) & (window_of <= window))
            lines.append((window, since, *_look(recent, reference, metric, margin, at), by))
    lines += _in_order(rows, window_of, reference, metric, margin)
    table = pd.DataFrame(lines, columns=COLUMNS)
    return table.sort_values("window", kind="stable", ignore_index=True)


def _in_order(
    rows: ScoredRows, windows: np.ndarray, reference: ScoredRows, metric: Metric, margin: float
) -> list[tuple]:
    """Return the line of the CUSUM if it rang, with the figure since the fall began."""
    if not len(rows):
        return []
    order = np.argsort(windows.astype(str), kind="stable")
    rows, windows = rows.take(order), windows[order]
    then = figure(metric, reference)
    least = in_units(margin, metric, then.value)
    try:
        alarm = cusum.of_metric(metric, reference, rows, least, ALPHA - OF_LOOKS)
    except (MetricError, ValueError):  # the looks say why
        return []
    if alarm is None:
        return []
    now = figure(metric, rows.take(slice(alarm.began, alarm.row + 1)))
    change = metric.sign * (now.value - then.value)
    ends = (now.value, now.low, now.high, now.n, change, math.nan, True, "", ROWS_IN_ORDER)
    return [(windows[alarm.row], windows[alarm.began], *ends)]


def _look(
    rows: ScoredRows, reference: ScoredRows, metric: Metric, margin: float, at: float
) -> tuple:
    now, then = (figure(metric, some, at) for some in (rows, reference))
    ends = (now.value, now.low, now.high, len(rows))
    if why := now.note or then.note:
        return (*ends, math.nan, math.nan, False, why)
    a, b = (now, then) if metric.higher_is_better else (then, now)
    gap = unpaired_difference(a, b)
    alarm = bool(gap.high < -in_units(margin, metric, then.value))
    return (*ends, gap.value, gap.high, alarm, "")
