"""Stage 1, data: what to look at in a table before anything is trained on it."""

import numpy as np
import pandas as pd

from diptych.core.data import schema
from diptych.core.evaluation import stats

MOST_LINES = 10  # classes that a plot can tell apart
PERIODS = ((60, "%Y-%m-%d"), (5 * 365, "%Y-%m"))  # up to so many days; else by year


def by_split(data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each split: by class, or how the numbers of a regression lie.

    Returns
    -------
    DataFrame
        ``split`` and a column a class; or ``split``, ``rows``, ``mean``, ``deviation``, ``least``,
        ``median``, ``most``.
    """
    if not schema.is_number(data["label"]):
        counts = data.groupby(["split", "label"]).size()
        return counts.unstack(fill_value=0).reset_index()
    parts = data.groupby("split")["label"]
    figures = parts.agg(["size", "mean", "std", "min", "median", "max"])
    figures.columns = ["rows", "mean", "deviation", "least", "median", "most"]
    return figures.reset_index()


def label_over_time(data: pd.DataFrame) -> pd.DataFrame:
    """Return how the label lies per period: the share of each class, or mean and tails of numbers.

    Returns
    -------
    DataFrame
        ``period``, ``label``, ``value``, ``low``, ``high``, ``n``: see `class_share` and
        `number_by_period`.
    """
    if schema.is_number(data["label"]):
        return number_by_period(data)
    return class_share(data).rename(columns={"share": "value"})


def number_by_period(data: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of numbers per period with its interval (Student's), and their tails.

    Periods are those of `class_share`.

    Returns
    -------
    DataFrame
        ``period``, ``label`` (mean, 10th or 90th percentile, which have no interval), ``value``,
        ``low``, ``high``, ``n``.
    """
    from scipy.stats import t as student

    rows, period = _periods(data)
    lines = []
    for name, numbers in rows["label"].groupby(period):
        n, mean = len(numbers), float(numbers.mean())
        half = student.ppf(0.975, n - 1) * numbers.std() / n**0.5 if n > 1 else 0.0
        lines.append((name, "mean", mean, mean - half, mean + half, n))
        for share in (0.1, 0.9):
            tail = float(numbers.quantile(share))
            lines.append((name, f"{share:.0%} are below", tail, tail, tail, n))
    return pd.DataFrame(lines, columns=["period", "label", "value", "low", "high", "n"])


def _periods(data: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows that have a time and the period of each; without times all, by split."""
    rows = data[data["time"].notna()]
    if rows.empty:
        return data, data["split"].to_numpy()
    return rows, _written(rows["time"])


def class_share(data: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each class per month, or per split where the rows have no time.

    Where the middle 90 % of the rows span a few weeks it is per day, where many years, per year.
    Of many classes the `MOST_LINES` most frequent are returned.

    Returns
    -------
    DataFrame
        ``period``, ``label``, ``share``, ``low``, ``high`` (Wilson), ``n``.
    """
    rows, period = _periods(data)
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
