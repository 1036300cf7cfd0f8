"""Intervals, paired tests, sample sizes and calibration, the same for MLOps and LLMOps.

Every score carries an interval, two models are compared on the same rows, rows that share a
source are resampled together (Miller, arXiv 2411.00640). scipy does the work; here is one form of
answer, `Estimate`, and refusal of input that would give a silent NaN. For the
Brier score and log loss use scikit-learn's `brier_score_loss` and `log_loss`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

RESAMPLES = 2_000
MANY, FEW_VALUES = 10_000, 64  # rows of so few different values are resampled by their counts


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its interval and the number of rows behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Return the form used in tables, such as `0.931 (0.918 to 0.942)`."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def rounded(self, digits: int = 3) -> "Estimate":
        """Return the estimate with its three figures rounded."""
        value, low, high = (round(x, digits) for x in (self.value, self.low, self.high))
        return Estimate(value, low, high, self.n)


def wilson(correct: int, n: int, level: float = 0.95) -> Estimate:
    """Share of `n` rows that are correct, with Wilson's score interval.

    Unlike the textbook interval it stays inside [0, 1] and keeps a width when all rows or none
    are correct (Wilson 1927; recommended by Brown, Cai and DasGupta 2001). ValueError if `n` is
    0, `correct` outside 0..n or `level`, the coverage, outside (0, 1).
    """
    _check_share("level", level)
    if n < 1:
        raise ValueError(f"n is {n}: a share needs at least one row.")
    if not 0 <= correct <= n:
        raise ValueError(f"correct is {correct}: it must lie between 0 and n = {n}.")
    low, high = wilson_ends(correct, n, level)
    return Estimate(correct / n, float(low), float(high), int(n))


def wilson_ends(
    correct: float | np.ndarray, n: float | np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of Wilson's interval; `correct` and `n` are numbers or arrays."""
    from scipy.special import ndtri

    share, z = np.divide(correct, n), float(ndtri(0.5 + level / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = np.where(share > 0, np.maximum(middle - half, 0), 0.0)
    return low, np.where(share < 1, np.minimum(middle + half, 1), 1.0)


def accuracy(y: ArrayLike, p: ArrayLike, level: float = 0.95) -> Estimate:
    """Share of predictions `p` equal to the labels `y` (both shape (n,)), Wilson interval."""
    y, p = np.asarray(y), np.asarray(p)
    if y.shape != p.shape or y.ndim != 1:
        raise ValueError(
            f"y has shape {y.shape} and p {p.shape}: give one label and one prediction per row."
        )
    if pd.isna(y).any() or pd.isna(p).any():
        raise ValueError("y or p has missing entries: drop the unlabelled rows, count the failed.")
    return wilson(int((y == p).sum()), len(y), level)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """`statistic` of `values` with a percentile bootstrap interval (Efron 1979).

    Parameters
    ----------
    values : array of shape (n,)
    statistic : callable from an array of shape (m,) to a number
    clusters : array of shape (n,), optional
        Source of each row, such as its id if rows are repeated; drawn together.
    level, resamples, seed
        Coverage of the interval, number of resamples, seed of the draws.

    Raises ValueError for fewer than two values or clusters, or a missing value.
    """
    from scipy import stats

    values = _numbers("values", values)
    _check_share("level", level)
    group = _clusters(clusters, len(values))
    count = int(group.max()) + 1
    if statistic is np.mean and count == len(values) >= MANY:
        different, counts = np.unique(values, return_counts=True)
        if len(different) <= FEW_VALUES:
            return _by_counts(different, counts, level, resamples, seed)
    if statistic is np.mean:
        sums, sizes = np.bincount(group, weights=values), np.bincount(group)

        def mean(picked: np.ndarray, axis: int) -> np.ndarray:
            return sums[picked].sum(axis) / sizes[picked].sum(axis)
    else:
        members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])

        def other(picked: np.ndarray) -> float:
            rows = picked if clusters is None else np.concatenate([members[i] for i in picked])
            return statistic(values[rows])

    result = stats.bootstrap(
        (np.arange(count),),
        mean if statistic is np.mean else other,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // count),
        vectorized=statistic is np.mean,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Estimate(float(statistic(values)), float(low), float(high), len(values))


def _by_counts(
    different: np.ndarray, counts: np.ndarray, level: float, resamples: int, seed: int
) -> Estimate:
    """Return what `bootstrap` does of a mean, from how often each different value occurs.

    How often each is drawn is multinomial, so the interval is the same and takes no time that
    grows with the rows.
    """
    n = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    low, high = np.quantile(drawn @ different / n, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(counts @ different / n), float(low), float(high), n)


def paired_difference(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    seed: int = 0,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Mean of `correct_a - correct_b` over the same rows, with a paired bootstrap interval.

    One row won by each side is added to the rows that are resampled, as Agresti and Min (2005)
    do for the Wald interval. Without them, two models that agree on all of 20 rows would have
    an interval of width zero; beyond some hundred rows they no longer show. The interval ends
    where a difference of grades can be at most: at -1 and 1.

    Both arrays have shape (n,) and hold 1 where the model is right and 0 where it is wrong, or
    a grade between 0 and 1; the other arguments are those of `bootstrap`. ValueError if the
    lengths differ, a value is missing or outside 0..1, or n is below 2.
    """
    a, b = _paired(correct_a, correct_b)
    group = _clusters(clusters, len(a))
    added = [group.max() + 1, group.max() + 2]
    smoothed = bootstrap(
        np.append(a - b, [1, -1]),
        clusters=np.append(group, added),
        level=level,
        resamples=resamples,
        seed=seed,
    )
    low, high = max(smoothed.low, -1.0), min(smoothed.high, 1.0)
    return Estimate(float(np.mean(a - b)), low, high, len(a))


def repeated(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Return the geometric mean of repeated measurements of an amount above 0.

    Parameters
    ----------
    values : array of shape (n,)
        Such as the latency of each round of requests; n at least 2.
    level : float
        Coverage of the interval, Student's on the logarithms.

    Raises
    ------
    ValueError
        If there are fewer than two, or one is not above 0.
    """
    from scipy.stats import t

    measured = np.asarray(values, dtype=float)
    if len(measured) < 2 or not (np.isfinite(measured).all() and (measured > 0).all()):
        raise ValueError(f"values: {measured.tolist()}; give at least two, all above 0.")
    logs = np.log(measured)
    half = float(t.ppf(0.5 + level / 2, len(logs) - 1)) * logs.std(ddof=1) / math.sqrt(len(logs))
    value, low, high = np.exp([logs.mean(), logs.mean() - half, logs.mean() + half]).tolist()
    return Estimate(value, low, high, len(logs))


def ratio(a: Estimate, b: Estimate) -> Estimate:
    """Return how many times `b` goes into `a`, both amounts above 0 measured apart.

    The difference of the logarithms as `unpaired_difference` has it, which is MOVER for a ratio
    (Zou and Donner 2008).

    Raises
    ------
    ValueError
        If an end of an interval is not above 0.
    """
    ends = [(one.value, one.low, one.high) for one in (a, b)]
    if min(min(three) for three in ends) <= 0:
        raise ValueError(f"a, b: {ends}; a ratio takes amounts above 0.")
    logs = (
        Estimate(math.log(one.value), math.log(one.low), math.log(one.high), one.n)
        for one in (a, b)
    )
    gap = unpaired_difference(*logs)
    return Estimate(math.exp(gap.value), math.exp(gap.low), math.exp(gap.high), gap.n)


def unpaired_difference(a: Estimate, b: Estimate) -> Estimate:
    """Subtract `b` from `a`, each with its own interval (Newcombe 1998, method 10).

    Wider than `paired_difference` when both were measured on the same rows: use it only where
    row-level results are gone.
    """
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(value, low, high, min(a.n, b.n))


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """p-value of the exact McNemar test that two models are right equally often.

    Both arrays have shape (n,) and hold 0 or 1 for the same rows.
    """
    from scipy.stats import binomtest

    a, b = (_binary(x) for x in _paired(correct_a, correct_b))
    won, lost = int((a & ~b).sum()), int((~a & b).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def cochran(correct_matrix: ArrayLike) -> float:
    """p-value of Cochran's Q test (1950) that three or more models are right equally often.

    `correct_matrix` has shape (n, models) and holds 0 or 1; if all rows agree the value is 1.
    Follow a small value with `mcnemar` on each pair, corrected by `holm`.
    """
    from scipy.stats import chi2

    matrix = np.asarray(correct_matrix)
    if matrix.ndim != 2 or matrix.shape[1] < 3 or matrix.shape[0] < 2:
        raise ValueError(
            f"correct_matrix has shape {matrix.shape}: give at least 2 rows and 3 models, "
            "or use mcnemar for two models."
        )
    matrix = _binary(_numbers("correct_matrix", matrix.ravel()).reshape(matrix.shape))
    if (matrix == matrix[:, :1]).all():
        return 1.0
    models, by_model, by_row = matrix.shape[1], matrix.sum(0), matrix.sum(1)
    spread = models * (models - 1) * ((by_model - by_model.mean()) ** 2).sum()
    q = spread / (by_row * (models - by_row)).sum()
    return float(chi2.sf(q, models - 1))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return the p-values, shape (k,), corrected for k tests (Holm 1979), in the given order."""
    p_values = np.asarray(p_values, float)
    if p_values.size == 0 or not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"p_values are {p_values.tolist()}: give one or more between 0 and 1.")
    order = np.argsort(p_values, kind="stable")
    left = np.arange(len(p_values), 0, -1)  # tests not yet rejected at each step
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(left * p_values[order]), 1)
    return corrected


def required_n(
    p1: float,
    p2: float,
    *,
    discordance: float | None = None,
    power: float = 0.8,
    level: float = 0.95,
) -> int:
    """Rows on which both models must be scored for McNemar's test to see `p1` against `p2`.

    Connor (1987): n = (z_a sqrt(d) + z_b sqrt(d - (p1 - p2)^2))^2 / (p1 - p2)^2, with d the
    discordance.

    Parameters
    ----------
    p1, p2 : float
        The two accuracies, between 0 and 1.
    discordance : float, optional
        Share of rows on which exactly one model is right. Left out, the models' errors are
        taken as independent, which asks for more rows than models that err alike need.
    power, level : float
        Chance of seeing the difference; 1 minus the false-alarm rate of the two-sided test.

    Raises ValueError for equal or impossible accuracies and for an impossible discordance.
    """
    from scipy.stats import norm

    _check_share("power", power)
    _check_share("level", level)
    difference = abs(p1 - p2)
    if not (0 <= p1 <= 1 and 0 <= p2 <= 1) or difference == 0:
        raise ValueError(f"p1 is {p1} and p2 {p2}: give two different shares between 0 and 1.")
    if discordance is None:
        discordance = p1 * (1 - p2) + p2 * (1 - p1)
    most = min(p1 + p2, 2 - p1 - p2)
    if not difference - 1e-12 <= discordance <= most + 1e-12:
        raise ValueError(
            f"discordance is {discordance}: accuracies {p1} and {p2} allow "
            f"{difference:.3g} to {most:.3g}."
        )
    test = norm.ppf(0.5 + level / 2) * math.sqrt(discordance)
    chance = norm.ppf(power) * math.sqrt(max(discordance - difference**2, 0.0))
    return math.ceil(((test + chance) / difference) ** 2)


def rows_needed(correct_a: ArrayLike, correct_b: ArrayLike, margin: float) -> int | None:
    """Return on how many rows a difference of `margin` between two models would show.

    The better share stays as it was measured and the other one lies `margin` below it. The two
    differ on as many rows as they do here, as far as these two shares allow. Power and level are
    the defaults of `required_n`.

    Parameters
    ----------
    correct_a, correct_b : arrays of shape (n,)
        As `paired_difference` takes them.
    margin : float

    Returns
    -------
    int or None
        None where the question has no answer: no number of rows shows a difference of 0, and no
        share lies `margin` below one that is smaller. A share of exactly `margin` has an answer,
        for the other one is then 0.
    """
    a, b = _paired(correct_a, correct_b)
    high = float(max(a.mean(), b.mean()))
    low = high - margin
    if not margin > 0 or low < -1e-12:  # 0.3 - 0.1 - 0.2 is -2.8e-17 in binary
        return None
    low = max(low, 0.0)
    most = min(high + low, 2 - high - low)
    differing = min(max(float((a != b).mean()), high - low), most)
    return required_n(high, low, discordance=differing)


def verdict(difference: Estimate, margin: float) -> Literal["better", "worse", "tie", "unclear"]:
    """Read a difference against the region of practical equivalence, -margin to +margin.

    `better` or `worse` if the whole interval lies outside, `tie` if inside, `unclear` if it
    reaches across an end: more rows are needed (Kruschke 2018).
    """
    if not margin >= 0:
        raise ValueError(f"margin is {margin}: give the smallest difference that matters, >= 0.")
    if difference.low > margin:
        return "better"
    if difference.high < -margin:
        return "worse"
    return "tie" if -margin <= difference.low and difference.high <= margin else "unclear"


def reliability(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 10, level: float = 0.95
) -> pd.DataFrame:
    """Stated against true accuracy in bins of about equal size, lowest confidence first.

    Parameters
    ----------
    confidence, correct : arrays of shape (n,)
        Probability given to the predicted class; 1 where the prediction is right, else 0.
    bins : int
        Most bins wanted; rows of equal confidence share one, so there may be fewer.

    Returns
    -------
    DataFrame
        Columns confidence (mean), accuracy, n, and low and high of the accuracy (Wilson).
    """
    _check_share("level", level)
    confidence, correct = _paired(confidence, correct, ("confidence", "correct"))
    correct = _binary(correct)
    if bins < 1:
        raise ValueError(f"bins is {bins}: give at least 1.")
    rank = np.searchsorted(np.sort(confidence), confidence, side="left")
    _, place = np.unique(rank * bins // len(rank), return_inverse=True)
    n = np.bincount(place)
    right = np.bincount(place, weights=correct)
    low, high = wilson_ends(right, n, level)
    mean = np.bincount(place, weights=confidence) / n
    columns = {"confidence": mean, "accuracy": right / n, "n": n, "low": low, "high": high}
    return pd.DataFrame(columns)


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: mean |confidence - accuracy| over the rows' bins.

    Bins hold about equally many rows (Naeini et al. 2015, Guo et al. 2017). Arguments as in
    `reliability`. It is above 0 even for a calibrated model, by chance about sqrt(bins / n) / 3.
    """
    table = reliability(confidence, correct, bins)
    gap = (table["confidence"] - table["accuracy"]).abs()
    return float(np.average(gap, weights=table["n"]))


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"{name} has shape {values.shape}: give at least two numbers in a row.")
    if not np.isfinite(values).all():
        missing = int((~np.isfinite(values)).sum())
        raise ValueError(f"{name} has {missing} missing or infinite entries: decide what they are.")
    return values


def _paired(
    a: ArrayLike, b: ArrayLike, names: tuple[str, str] = ("correct_a", "correct_b")
) -> tuple[np.ndarray, np.ndarray]:
    a, b = _numbers(names[0], a), _numbers(names[1], b)
    if len(a) != len(b):
        raise ValueError(
            f"{names[0]} has {len(a)} rows and {names[1]} has {len(b)}: both need the same rows."
        )
    for name, values in zip(names, (a, b), strict=True):
        if values.min() < 0 or values.max() > 1:
            raise ValueError(f"{name} reaches {values.min()} to {values.max()}: keep it in 0..1.")
    return a, b


def _binary(values: np.ndarray) -> np.ndarray:
    if not np.isin(values, (0, 1)).all():
        raise ValueError("correct holds values other than 0 and 1: grade each row right or wrong.")
    return values.astype(bool)


def _clusters(clusters: ArrayLike | None, n: int) -> np.ndarray:
    if clusters is None:
        return np.arange(n)
    codes, sources = pd.factorize(np.asarray(clusters))
    if len(codes) != n or (codes < 0).any():
        raise ValueError(f"clusters has {len(codes)} entries for {n} rows, or some are missing.")
    if len(sources) < 2:
        raise ValueError("clusters names one source only: an interval needs at least two.")
    return codes


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}: it must lie between 0 and 1.")
