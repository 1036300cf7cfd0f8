"""Drift of a window of rows against a reference profile, with alarms that mean what they say.

A `Profile` is computed once, when a model is released; a window is then read once per column into
histograms on the profile's fixed bins, and every distance comes from them.

The alarm looks at one number per column, the *shift*: the largest change in the probability of
an event. For numbers the events are "missing or at most t" (the Kolmogorov-Smirnov distance with
missing values sorted first), for categories all sets of levels (total variation). It must exceed
what chance gives for this reference and a window of this size: see `_thresholds`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diptych.core.evaluation.stats import Estimate
from diptych.core.monitoring import statistics

FINE, COARSE = 2_048, 20  # bins for KS and Wasserstein, and for PSI and JS
LEVELS = 64  # most levels of a category that are told apart, and no more than rows / 20
BLOCK = 1 << 15  # rows binned at once: the temporaries stay in the processor's cache


@dataclass(frozen=True)
class Numeric:
    """A numeric column of the reference.

    `counts` has the missing rows first, then `FINE` bins: below `low`, `FINE - 2` equal bins,
    above `high`. `below` and `above` are the mean distances past the ends, over present rows.
    """

    low: float
    high: float
    spread: float
    below: float
    above: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Categorical:
    """A categorical column of the reference: `counts` of missing, the `levels`, then other."""

    levels: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """The reference distribution of each column, and the seed of the thresholds' resampling.

    `left_out` holds the reason why other columns have none.
    """

    columns: dict[str, Numeric | Categorical]
    seed: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, columns: Sequence[str] | None = None, seed: int = 0
    ) -> "Profile":
        """Profile the reference rows.

        `columns` left out takes every column of numbers, booleans, strings or categories. One
        that is missing throughout, or named and of another kind, is in `left_out`. ValueError for
        fewer than two rows, a column that is absent, or none that can be profiled.
        """
        if len(frame) < 2:
            raise ValueError(
                f"The reference has {len(frame)} rows: a profile needs at least 2. Take more rows, "
                "such as those of more windows (-p decide_windows=2)."
            )
        if columns is None:
            columns = [name for name in frame if _kind(frame[name]) or frame[name].isna().all()]
        _require(frame, columns)
        if not len(columns):
            raise ValueError("No column to profile: name at least one of numbers or categories.")
        profiles, left_out = {}, {}
        for name in columns:
            try:
                profiles[name] = _fit_column(name, frame[name])
            except ValueError as error:
                left_out[str(name)] = str(error)
        if not profiles:
            raise ValueError(next(iter(left_out.values())))
        return cls(profiles, seed, left_out)

    def to_dict(self) -> dict:
        """Return the profile as JSON-safe values."""
        content = {"seed": self.seed, "columns": {k: asdict(v) for k, v in self.columns.items()}}
        return content | ({"left_out": self.left_out} if self.left_out else {})

    @classmethod
    def from_dict(cls, content: dict) -> "Profile":
        """Rebuild a profile from what `to_dict` returned, also after a trip through JSON."""
        columns: dict[str, Numeric | Categorical] = {}
        for name, column in content["columns"].items():
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in column.items()
            }
            columns[name] = Categorical(**values) if "levels" in column else Numeric(**values)
        return cls(columns, content["seed"], content.get("left_out", {}))


def compare_profiles(
    profile: Profile, window: pd.DataFrame, alpha: float = 0.001, min_effect: float = 0.02
) -> pd.DataFrame:
    """Return the distances of each column of `window` from the profile, one row per column.

    Parameters
    ----------
    window : DataFrame
        At least one row and all columns of the profile.
    alpha : float
        Chance of a false alarm on *any* column of an undrifted window, 0.0001 or more.
    min_effect : float
        Shift below which a column never counts as drifted, however many rows show it.

    Returns
    -------
    DataFrame
        feature; kind; n; missing (share, infinite numbers included); ks; wasserstein (reference
        standard deviations); psi (nats); js (distance, base 2, 0 to 1); shift; threshold;
        drifted (shift > threshold); reason; and one for each statistic that a plugin adds.
        ks and wasserstein leave missing rows out, are exact
        up to the bins, and are NaN for categories. A column that cannot be compared, because the
        profile left it out or it is of another kind here, has NaN and the reason.

    Raises ValueError if the window is empty or lacks a column.
    """
    if not 1e-4 <= alpha < 1 or not 0 <= min_effect < 1:
        raise ValueError(
            f"alpha is {alpha} and min_effect {min_effect}: give 0.0001 to 1 and 0 to 1."
        )
    if window.empty:
        raise ValueError("The window is empty: wait for rows, or widen it.")
    _require(window, profile.columns)
    n, rows = len(window), []
    thresholds = _thresholds(profile, n, alpha)
    for (name, column), threshold in zip(profile.columns.items(), thresholds, strict=True):
        kind, series = type(column).__name__.lower(), window[name]
        row: dict[str, Any] = {"feature": name, "kind": kind, "n": n}
        if _kind(series) != kind and series.notna().any():
            why = f"Column '{name}' is {series.dtype}, in its profile {kind}: convert."
            rows.append(row | _not_compared(why))
            continue
        if isinstance(column, Numeric):
            row |= _compare_numeric(column, series)
        else:
            row |= _compare_categorical(column, series)
        row["threshold"] = max(threshold, min_effect, 1e-12)
        rows.append(row | {"drifted": row["shift"] > row["threshold"] + 1e-12, "reason": ""})
    rows += [
        {"feature": name, "kind": "", "n": n} | _not_compared(why)
        for name, why in profile.left_out.items()
    ]
    return pd.DataFrame(rows)


def _not_compared(reason: str) -> dict:
    names = ("missing", "ks", "wasserstein", "psi", "js", "shift", "threshold")
    return dict.fromkeys(names, np.nan) | {"drifted": False, "reason": reason}


def compare_windows(
    profile: Profile,
    frame: pd.DataFrame,
    by: str | Sequence,
    alpha: float = 0.001,
    min_effect: float = 0.02,
) -> dict[str, pd.DataFrame]:
    """Compare each window of `frame` with the profile, windows in sorted order.

    `by` is the column that names each row's window, or one name per row. The result has for each
    window what `compare_profiles` returns, which also explains `alpha` and `min_effect`.
    """
    names = frame[by] if isinstance(by, str) else pd.Series(by)
    if len(names) != len(frame) or names.isna().any():
        raise ValueError(f"by names the window of {names.count()} of {len(frame)} rows: name all.")
    return {
        name: compare_profiles(profile, window, alpha, min_effect)
        for name, window in frame.groupby(pd.Index(names), observed=True)
    }


def alarms(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Summarise what `compare_windows` returned, one row per window.

    The columns are window, n, drifted (number of features), worst (feature with the largest shift
    relative to its threshold), shift and threshold of that feature, alarm; and before the alarm
    that feature's figure of each statistic that a plugin adds. A window of which no feature could
    be compared has no worst one and no alarm.
    """
    rows = []
    for window, table in tables.items():
        added = [name for name in table if name not in statistics.TAKEN]
        relative, names = table["shift"] / table["threshold"], ["shift", "threshold", *added]
        worst = {"worst": ""} | dict.fromkeys(names, np.nan)
        if relative.notna().any():
            line = table.loc[relative.idxmax()]
            worst = {"worst": line["feature"], **line[names]}
        drifted = int(table["drifted"].sum())
        counts = {"window": window, "n": int(table["n"].iloc[0]), "drifted": drifted}
        rows.append(counts | worst | {"alarm": drifted > 0})
    names = ["window", "n", "drifted", "worst", "shift", "threshold", "alarm"]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=names)


@dataclass(frozen=True)
class ConfidenceGap:
    """By how much a model is right more often than its confidence says, on labelled rows.

    Attributes
    ----------
    value, variance : float
        Of the mean difference of right (0 or 1) and confidence.
    """

    value: float = 0.0
    variance: float = 0.0

    @classmethod
    def of(cls, confidence: Sequence[float], right: Sequence) -> "ConfidenceGap":
        """Measure it; rows without a confidence are left out, and none of fewer than two."""
        gaps = np.asarray(right, float) - np.asarray(confidence, float)
        gaps = gaps[np.isfinite(gaps)]
        if len(gaps) < 2:
            return cls()
        return cls(float(gaps.mean()), float(gaps.var(ddof=1)) / len(gaps))


NO_GAP = ConfidenceGap()


def estimated_accuracy(
    confidences: Sequence[float], level: float = 0.95, gap: ConfidenceGap = NO_GAP
) -> Estimate:
    """Estimate accuracy before labels come by the mean probability of the predicted class.

    `confidences` has shape (n,), n at least 2. With a `gap`, measured on the test set, the estimate
    is the accuracy there plus the difference of the confidences (Guillory et al. 2021, arXiv
    2107.03315): a model that was too modest there is taken to be so still. The interval is that of
    the accuracy these very rows will show, sum c(1 - c) being the variance of the number right,
    with the variance of the gap. It holds only while the model errs about itself as before and the
    meaning of the classes stands still: under concept drift, or far from the training data,
    confidence says nothing about truth (Garg et al. 2022, arXiv 2201.04234). Check it when labels
    arrive.
    """
    from scipy.stats import norm

    c = np.asarray(confidences, float)
    if c.ndim != 1 or len(c) < 2 or not ((c >= 0) & (c <= 1)).all():
        raise ValueError(
            f"confidences has shape {c.shape} or values outside 0..1: give at least two shares."
        )
    variance = (c * (1 - c)).sum() / len(c) ** 2 + gap.variance
    half = norm.ppf(0.5 + level / 2) * math.sqrt(variance)
    mean = min(max(float(c.mean()) + gap.value, 0.0), 1.0)
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), len(c))


def _kind(series: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(series):
        return "numeric"
    if isinstance(series.dtype, pd.CategoricalDtype | pd.StringDtype):
        return "categorical"
    named = series.dtype == object and pd.api.types.infer_dtype(series) in ("string", "boolean")
    return "categorical" if named else ""


def _require(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    for name in columns:
        if name not in frame:
            raise ValueError(f"The rows lack the column '{name}'; they have {list(frame)}.")


def _fit_column(name: str, series: pd.Series) -> Numeric | Categorical:
    if series.isna().all():
        raise ValueError(f"Column {name!r} is missing throughout, so nothing can be compared.")
    kind = _kind(series)
    if not kind or not isinstance(name, str):
        raise ValueError(
            f"Column {name!r} is {series.dtype}: give numbers, names or categories and a str name."
        )
    if kind == "categorical":
        return _fit_levels(series)
    numbers = _floats(series)
    present = numbers[np.isfinite(numbers)].astype(float)
    if not len(present):
        raise ValueError(f"Column '{name}' holds no finite number, so nothing can be compared.")
    least, q1, q3, most = np.quantile(present, [0, 0.005, 0.995, 1]).tolist()
    spread = float(present.std()) if least < most else 0.0
    if q3 > q1:  # a few outliers must not stretch the bins over empty space
        least, most = max(least, 5 * q1 - 4 * q3), min(most, 5 * q3 - 4 * q1)
    # the largest value belongs to the last bin, not to the tail above it
    high = most + max(1e-6 * (most - least), 1e-9 * max(1.0, abs(most)))
    counts, below, above = _histogram(numbers, least, high)
    return Numeric(least, high, spread, below, above, tuple(counts.tolist()))


def _fit_levels(series: pd.Series) -> Categorical:
    levels, most = list(_counts(series)), min(LEVELS, max(8, int(series.notna().sum()) // 20))
    if len(levels) > most:
        # chosen and counted on the same rows, they would look more frequent than they are
        frequency, series = _counts(series[::2]), series[1::2]
        levels = sorted(frequency, key=lambda level: frequency[level], reverse=True)[:most]
    return Categorical(tuple(levels), tuple(_level_counts(series, levels)))


def _floats(series: pd.Series) -> np.ndarray:
    if isinstance(series.dtype, np.dtype) and series.dtype != object:
        return series.to_numpy()
    return series.to_numpy(dtype=float, na_value=np.nan)


def _histogram(values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, float, float]:
    """Return `counts`, `below` and `above` as `Numeric` holds them."""
    counts = np.zeros(FINE + 1, np.int64)
    scale = (FINE - 2) / (high - low)
    below = above = 0.0
    for start in range(0, len(values), BLOCK):
        x = values[start : start + BLOCK].astype(float)
        finite = np.isfinite(x)
        if not finite.all():
            x = x[finite]
            counts[0] += len(finite) - len(x)
        with np.errstate(over="ignore"):
            cell = (x - low) * scale
        cell += 2
        block = np.bincount(np.clip(cell, 1, FINE, out=cell).astype(np.intp), minlength=FINE + 1)
        if block[1]:
            below += (low - x[x < low]).sum()
        if block[FINE]:
            above += (x[x > high] - high).sum()
        counts += block
    present = max(1, len(values) - counts[0])
    return counts, float(below / present), float(above / present)


def _counts(series: pd.Series) -> dict[str, int]:
    values = series.value_counts(sort=False)
    counts: dict[str, int] = {}
    for level, count in zip(map(str, values.index), values.tolist(), strict=True):
        counts[level] = counts.get(level, 0) + count
    return counts


def _level_counts(series: pd.Series, levels: Sequence[str]) -> list[int]:
    """Return the rows that are missing, of each level, and other."""
    counts = _counts(series)
    known = [counts.get(level, 0) for level in levels]
    missing = int(series.isna().sum())
    return [missing, *known, len(series) - missing - sum(known)]


def _compare_numeric(column: Numeric, series: pd.Series) -> dict:
    counts, below, above = _histogram(_floats(series), column.low, column.high)
    p, q = (c / c.sum() for c in (np.array(column.counts), counts))
    row = {"missing": q[0], "ks": np.nan, "wasserstein": np.nan}
    if max(p[0], q[0]) < 1:
        below_edge = [np.cumsum(c[1:]) / np.sum(c[1:]) for c in (column.counts, counts)]
        gap = np.abs(below_edge[0] - below_edge[1])[:-1]
        # area between the distribution functions: trapezoids over the bins, then the tails
        inner = (gap.sum() - (gap[0] + gap[-1]) / 2) * (column.high - column.low) / (FINE - 2)
        moved = inner + abs(column.below - below) + abs(column.above - above)
        row["ks"] = gap.max()
        row["wasserstein"] = moved / column.spread if column.spread else moved and math.inf
    middle = np.cumsum(p[1:]) - p[1:] / 2
    share = middle / (1 - p[0]) if p[0] < 1 else middle
    group = np.minimum(share * COARSE, COARSE - 1).astype(int) + 1
    then, now = (np.bincount(np.append(0, group), c) for c in (column.counts, counts))
    return row | _coarse_distances(then, now) | {"shift": np.abs(np.cumsum(p - q)).max()}


def _compare_categorical(column: Categorical, series: pd.Series) -> dict:
    counts = np.array(_level_counts(series, column.levels))
    p, q = (c / c.sum() for c in (np.array(column.counts), counts))
    row = {"missing": q[0], "ks": np.nan, "wasserstein": np.nan}
    return row | _coarse_distances(column.counts, counts) | {"shift": np.abs(p - q).sum() / 2}


def _coarse_distances(reference: ArrayLike, window: ArrayLike) -> dict[str, float]:
    """Return PSI, half a row added to each bin so that an empty one counts, and JS distance."""
    counts = np.array([np.asarray(reference), np.asarray(window)], float)
    counts = counts[:, counts.any(axis=0)]
    p, q = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    psi = float(((q - p) * np.log(q / p)).sum())
    p, q = counts / counts.sum(axis=1, keepdims=True)
    half = (p + q) / 2
    bits = sum(x[x > 0] @ np.log2(x[x > 0] / half[x > 0]) for x in (p, q)) / 2
    added = statistics.measured(p, q)
    return {"psi": psi, "js": math.sqrt(max(0.0, float(bits)))} | added


def _thresholds(profile: Profile, n: int, alpha: float) -> list[float]:
    """Return the shift of each column that an undrifted window of `n` rows stays below.

    The largest shift of all columns, each in its own unit, exceeds the critical value with
    probability alpha if nothing drifts. Columns are drawn independently; if they are associated,
    alarms are rarer. A column of few distinct values is resampled (`_null_shifts`). One of many
    follows Smirnov's law, P(shift > x sqrt(1/n + 1/m)) = 2 exp(-2 x^2) in the tail, whatever its
    distribution, so it is drawn from there; ties only make alarms rarer.
    """
    draws = math.ceil(5 / alpha)
    units, worst, continuous = [], np.zeros(draws), 0
    for position, column in enumerate(profile.columns.values()):
        m = sum(column.counts)
        if isinstance(column, Numeric) and np.count_nonzero(column.counts) > min(LEVELS, m / 10):
            continuous += 1
            units.append(math.sqrt(1 / n + 1 / m))
            continue
        null = _null_shifts(column, n, draws, profile.seed + position)
        # units are alike at the 1 % point, so no column takes all of alpha
        units.append(max(float(np.quantile(null, 0.99)) / math.sqrt(math.log(200) / 2), 1 / n))
        worst = np.maximum(worst, null / units[-1])
    if continuous:
        u = np.random.default_rng([profile.seed, n, 0]).random(draws) ** (1 / continuous)
        worst = np.maximum(worst, np.sqrt(-np.log((1 - u) / 2) / 2))
    # P(shift > k-th largest of the draws) = k / (draws + 1)
    critical = np.sort(worst)[-math.floor((draws + 1) * alpha)]
    return [float(critical * unit) for unit in units]


@lru_cache(maxsize=512)
def _null_shifts(column: Numeric | Categorical, n: int, draws: int, seed: int) -> np.ndarray:
    """Return shifts, shape (draws,), of windows of `n` rows drawn as the reference was.

    The reference is a sample too: each draw first takes probabilities that could have produced
    it (Dirichlet posterior under Jeffreys' prior), then a multinomial window from them.
    """
    counts = np.array(column.counts)
    if isinstance(column, Numeric):
        counts = np.append(counts[counts > 0], 0)  # the last bin is for values not yet seen
    rng = np.random.default_rng([seed, n])
    p = rng.standard_gamma(counts + 0.5, (draws, len(counts)))
    gap = rng.multinomial(n, p / p.sum(axis=1, keepdims=True)) / n - counts / counts.sum()
    if isinstance(column, Numeric):
        return np.abs(np.cumsum(gap, axis=1)).max(axis=1)
    return np.abs(gap).sum(axis=1) / 2
