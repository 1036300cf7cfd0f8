"""A metric by group of rows, and the largest gap between groups with its own interval.

The rates have fairlearn's names: selection rate, true and false positive rate; the gap of the
first is the demographic parity difference, the larger gap of the others the equalized odds
difference.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diptych.core.evaluation.metrics import FEWEST, Figure, Metric, MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import wilson

DRAWS = 20_000


def by_group(rows: ScoredRows, groups: ArrayLike, metric: Metric) -> pd.DataFrame:
    """Return a metric of each group of rows.

    Parameters
    ----------
    groups : array of str, shape (n,)

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``n``, ``reason`` (why it has no figure to rely on,
        else ""); of two classes also ``selection rate``, ``true positive rate`` and ``false
        positive rate``. Sorted by name.
    """
    groups = np.asarray(groups).astype(str)
    lines = []
    for name in sorted(set(groups.tolist())):
        part = rows.take(groups == name)
        measured = figure(metric, part)
        line = {"name": name, "value": measured.value, "low": measured.low, "high": measured.high}
        lines.append(line | {"n": len(part), "reason": measured.note} | _rates(part))
    return pd.DataFrame(lines)


def figure(metric: Metric, rows: ScoredRows, level: float = 0.95) -> Figure:
    """Return a metric of some rows; NaN with the reason where they have none."""
    try:
        return metric.estimate(rows, level)
    except MetricError as error:
        return Figure(np.nan, np.nan, np.nan, len(rows), str(error))


def _rates(rows: ScoredRows) -> dict[str, float]:
    if not rows.positive:
        return {}
    yes, flagged = rows.is_positive, rows.says_positive
    return {
        "selection rate": float(flagged.mean()),
        "true positive rate": float(flagged[yes].mean()) if yes.any() else np.nan,
        "false positive rate": float(flagged[~yes].mean()) if (~yes).any() else np.nan,
    }


@dataclass(frozen=True)
class Gap(Figure):
    """The largest difference between two groups, with its interval.

    Attributes
    ----------
    left_out : int
        Groups whose rows hold no figure; they are in no comparison.
    between : str
        The two groups that lie farthest apart, the higher first.
    """

    left_out: int = 0
    between: str = ""


def largest_gap(rows: ScoredRows, groups: ArrayLike, metric: Metric, level: float = 0.95) -> Gap:
    """Return the largest difference of a metric between two groups.

    The largest of many differences is large by chance alone. So the interval is simultaneous over
    all pairs (Tukey 1953, Kramer 1956; the quantile by simulation): it starts above 0 only if the
    groups differ. Groups whose metric cannot be relied on are left out.

    Parameters
    ----------
    groups : array of str, shape (n,)
    level : float
        Coverage of the interval.
    """
    groups = np.asarray(groups).astype(str)
    figures, every = {}, sorted(set(groups.tolist()))
    for name in every:
        part = rows.take(groups == name)
        if len(part) < FEWEST or not figure(metric, part).reliable:
            continue
        value, moved = metric.influences(part)
        figures[name] = value, metric.standard_error(moved, part)
    return _gap([figures], len(rows), len(every) - len(figures), level)


def parity_gap(rows: ScoredRows, groups: ArrayLike, level: float = 0.95) -> Gap:
    """Return the demographic parity difference: the largest gap in the selection rate."""
    groups = np.asarray(groups).astype(str)
    shares = _shares(rows.says_positive, groups)
    return _gap([shares], len(rows), len(set(groups.tolist())) - len(shares), level)


def odds_gap(rows: ScoredRows, groups: ArrayLike, level: float = 0.95) -> Gap:
    """Return the equalized odds difference: the larger gap in true and false positive rate."""
    groups, yes = np.asarray(groups).astype(str), rows.is_positive
    rates = [_shares(rows.says_positive[part], groups[part]) for part in (yes, ~yes)]
    left = len(set(groups.tolist())) - min(len(rate) for rate in rates)
    return _gap(rates, len(rows), left, level)


def gaps(rows: ScoredRows, groups: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return the largest gaps by each column of groups.

    Parameters
    ----------
    groups : DataFrame, shape (n, columns)
        Names of groups, the rows in order.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``between``, ``left out``, ``note``: of the metric;
        of two classes also the differences of demographic parity and equalized odds.
    """
    lines = []
    for column in groups:
        measured = {f"largest gap in {metric.title}": largest_gap(rows, groups[column], metric)}
        if rows.positive:
            measured["demographic parity difference"] = parity_gap(rows, groups[column])
            measured["equalized odds difference"] = odds_gap(rows, groups[column])
        for name, gap in measured.items():
            ends = {"value": gap.value, "low": gap.low, "high": gap.high, "between": gap.between}
            line = {"name": f"{name}, {column}", **ends}
            lines.append(line | {"left out": gap.left_out, "note": gap.note})
    return pd.DataFrame(lines)


def _shares(flagged: np.ndarray, groups: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the share of flagged rows and its standard error of each group with enough rows."""
    by_name = pd.Series(flagged).groupby(groups)
    shares = {}
    for name, count, size in zip(by_name.size().index, by_name.sum(), by_name.size(), strict=True):
        if size >= FEWEST:
            share = wilson(int(count), int(size))
            shares[name] = share.value, (share.high - share.low) / 3.92
    return shares


def _gap(rates: list[dict[str, tuple]], n: int, left: int, level: float) -> Gap:
    """Return the largest gap of one or several rates, whose errors are independent."""
    rates = [rate for rate in rates if len(rate) > 1]
    if not rates:
        note = f"fewer than two groups have enough rows ({left} have too few)"
        return Gap(np.nan, np.nan, np.nan, n, note, left)
    rng, farthest, pairs = np.random.default_rng(0), np.zeros(DRAWS), []
    for rate in rates:
        names, (figures, errors) = list(rate), np.array(list(rate.values())).T
        a, b = np.triu_indices(len(names), 1)
        error = np.maximum(np.hypot(errors[a], errors[b]), 1e-12)
        noise = rng.normal(size=(DRAWS, len(names))) * errors
        for i, j, one in zip(a, b, error, strict=True):
            np.maximum(farthest, np.abs(noise[:, i] - noise[:, j]) / one, out=farthest)
            pairs.append((*sorted((i, j), key=lambda at: -figures[at]), names, figures, one))
    reach = float(np.quantile(farthest, level))
    distances = np.array([figures[i] - figures[j] for i, j, _, figures, _ in pairs])
    half = reach * np.array([one for *_, one in pairs])
    i, j, names, _, _ = pairs[int(distances.argmax())]
    low, high = max(float((distances - half).max()), 0.0), float((distances + half).max())
    return Gap(float(distances.max()), low, high, n, "", left, f"{names[i]} and {names[j]}")
