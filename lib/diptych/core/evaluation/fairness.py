"""A metric by group of rows, and the largest gap between groups with its own interval.

The rates have fairlearn's names: selection rate, true and false positive rate; the gap of the
first is the demographic parity difference, the larger gap of the others the equalized odds
difference.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from diptych.core.evaluation.metrics import FEWEST, Figure, Metric, MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import wilson

DRAWS = 20_000


def by_group(rows: ScoredRows, groups: Sequence, metric: Metric) -> pd.DataFrame:
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


def figure(metric: Metric, rows: ScoredRows) -> Figure:
    """Return a metric of some rows; NaN with the reason where they have none."""
    try:
        return metric.estimate(rows)
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


def largest_gap(rows: ScoredRows, groups: Sequence, metric: Metric, level: float = 0.95) -> Figure:
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
    figures, errors, left = [], [], 0
    for name in sorted(set(groups.tolist())):
        part = rows.take(groups == name)
        if len(part) < FEWEST or not figure(metric, part).reliable:
            left += 1
            continue
        value, moved = metric.influences(part)
        figures.append(value)
        errors.append(metric.standard_error(moved, part))
    return _gap(np.array(figures), np.array(errors), len(rows), left, level)


def parity_gap(rows: ScoredRows, groups: Sequence, level: float = 0.95) -> Figure:
    """Return the demographic parity difference: the largest gap in the selection rate."""
    flagged = pd.Series(rows.says_positive).groupby(np.asarray(groups).astype(str))
    counts, sizes = flagged.sum(), flagged.size()
    enough = sizes >= FEWEST
    shares = [wilson(int(k), int(n)) for k, n in zip(counts[enough], sizes[enough], strict=True)]
    errors = np.array([(share.high - share.low) / 3.92 for share in shares])
    figures = np.array([share.value for share in shares])
    return _gap(figures, errors, len(rows), int((~enough).sum()), level)


def _gap(figures: np.ndarray, errors: np.ndarray, n: int, left: int, level: float) -> Figure:
    if len(figures) < 2:
        note = f"fewer than two groups have enough rows ({left} have too few)"
        return Figure(np.nan, np.nan, np.nan, n, note)
    a, b = np.triu_indices(len(figures), 1)
    distance, error = np.abs(figures[a] - figures[b]), np.hypot(errors[a], errors[b])
    noise = np.random.default_rng(0).normal(size=(DRAWS, len(figures))) * errors
    farthest = (np.abs(noise[:, a] - noise[:, b]) / np.maximum(error, 1e-12)).max(axis=1)
    reach = float(np.quantile(farthest, level)) * error
    low, high = max(float((distance - reach).max()), 0.0), float((distance + reach).max())
    return Figure(float(distance.max()), low, high, n)
