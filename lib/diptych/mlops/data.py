"""Stage 1, data: what to look at in a table before anything is trained on it."""

import numpy as np
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
    period = _written(rows["time"]) if timed else rows["split"].to_numpy()
    shown = sorted(data["label"].value_counts().index[:MOST_LINES])
    lines = []
    counts = pd.crosstab(period, rows["label"].to_numpy())
    for name, of_label in counts.iterrows():
        for label in shown:
            share = stats.wilson(int(of_label.get(label, 0)), int(of_label.sum()))
            lines.append((name, label, share.value, share.low, share.high, share.n))
    return pd.DataFrame(lines, columns=["period", "label", "share", "low", "high", "n"])


def _written(times: pd.Series) -> np.ndarray:
    """Return the period of each row; a day is written once, for that takes long."""
    codes, days = pd.factorize(times.dt.floor("D"))
    return days.strftime(_period(times)).to_numpy()[codes]


def _period(times: pd.Series) -> str:
    """Return by what part of a date rows of such times are counted."""
    early, late = times.quantile([0.05, 0.95])
    days = (late - early).days
    return next((form for most, form in PERIODS if days <= most), "%Y")


def duplicates(data: pd.DataFrame, features: list[str]) -> int:
    """Count the rows whose features all equal an earlier row's."""
    return int(data.duplicated(subset=features).sum())
