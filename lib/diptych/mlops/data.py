"""Stage 1, data: what to look at in a table before anything is trained on it."""

import pandas as pd

from diptych.core.evaluation import stats

MOST_LINES = 10  # classes that a plot can tell apart
PERIODS = ((60, "%Y-%m-%d"), (5 * 365, "%Y-%m"))  # up to so many days; else by year


def class_share(data: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each class per month, or per split where the rows have no time.

    Where the middle 90 % of the rows span a few weeks it is per day, where many years, per year.
    Of many classes the `MOST_LINES` most frequent are returned.

    Returns
    -------
    DataFrame
        ``period``, ``label``, ``share``, ``low``, ``high`` (Wilson), ``n``.
    """
    rows = data[data["time"].notna()]
    rows = data if rows.empty else rows
    timed = rows is not data
    period = rows["time"].dt.strftime(_period(rows["time"])) if timed else rows["split"]
    shown = sorted(data["label"].value_counts().index[:MOST_LINES])
    lines = []
    for name, group in rows.groupby(period.to_numpy(), sort=True):
        for label in shown:
            share = stats.wilson(int((group["label"] == label).sum()), len(group))
            lines.append((name, label, share.value, share.low, share.high, share.n))
    return pd.DataFrame(lines, columns=["period", "label", "share", "low", "high", "n"])


def _period(times: pd.Series) -> str:
    """Return by what part of a date rows of such times are counted."""
    early, late = times.quantile([0.05, 0.95])
    days = (late - early).days
    return next((form for most, form in PERIODS if days <= most), "%Y")


def duplicates(data: pd.DataFrame, features: list[str]) -> int:
    """Count the rows whose features all equal an earlier row's."""
    return int(data.duplicated(subset=features).sum())
