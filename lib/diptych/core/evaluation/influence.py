"""How much each row moves a metric: its influence function, from which errors are estimated.

The influence of row i is the derivative of the metric with respect to the weight of the row,
times n. Influences have mean 0, and the standard error of the metric is their standard
deviation over the square root of n (Hampel 1974; Efron and Tibshirani 1993, chapter 21). The one
of ROC-AUC is DeLong's (DeLong, DeLong and Clarke-Pearson 1988), with ranks as in Sun and Xu 2014.
Each function returns the figure and the influences, shape (n,), in O(n log n).
"""

from collections.abc import Callable

import numpy as np

MANY, PARTS = 100_000, 100  # rows above which a function is computed on so many parts of them
Influences = tuple[float, np.ndarray]


def mean(values: np.ndarray) -> Influences:
    """Mean of row-wise values."""
    figure = float(np.mean(values))
    return figure, values - figure


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Influences:
    """Sum of one row-wise value over the sum of another; NaN where that sum is 0."""
    below = denominator.mean()
    if below == 0:
        return float("nan"), np.full(len(numerator), np.nan)
    figure = float(numerator.mean() / below)
    return figure, (numerator - figure * denominator) / below


def average(parts: list[Influences]) -> Influences:
    """Mean of several figures of the same rows."""
    figures, influences = zip(*parts, strict=True)
    return float(np.mean(figures)), np.mean(influences, axis=0)


def matthews(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Influences:
    """Matthews correlation of class indices (Gorodkin 2004), 0 where either is constant.

    An index of `classes` stands for a prediction that is no class.
    """
    n, agree = len(truth), (truth == predicted).astype(float)
    t = np.bincount(truth, minlength=classes + 1) / n
    p = np.bincount(predicted, minlength=classes + 1) / n
    c, both = agree.mean(), float(t @ p)
    spread_t, spread_p = 1 - t @ t, 1 - p @ p
    if spread_t <= 0 or spread_p <= 0:
        return 0.0, np.zeros(n)
    root = np.sqrt(spread_t * spread_p)
    figure = float((c - both) / root)
    moved = (agree - c) - (t[predicted] - both) - (p[truth] - both)
    moved_t = -2 * (t[truth] - t @ t) / spread_t
    moved_p = -2 * (p[predicted] - p @ p) / spread_p
    return figure, moved / root - figure / 2 * (moved_t + moved_p)


def roc_auc(positive: np.ndarray, score: np.ndarray) -> Influences:
    """Area under the ROC curve; ties count half. NaN where one class is missing."""
    n, above = len(positive), int(positive.sum())
    if above in (0, n):
        return float("nan"), np.full(n, np.nan)
    placed = np.empty(n)
    others = _midranks(score)
    placed[positive] = (others[positive] - _midranks(score[positive])) / (n - above)
    placed[~positive] = 1 - (others[~positive] - _midranks(score[~positive])) / above
    figure = float(placed[positive].mean())
    weight = np.where(positive, n / above, n / (n - above))
    return figure, (placed - figure) * weight


def average_precision(positive: np.ndarray, score: np.ndarray) -> Influences:
    """Average precision, ties taken together as scikit-learn does; NaN without positives.

    With the precision P(s) and the share G(s) of rows at or above a score, and the share pi of
    positives: influence = (y P(s) + mean over positives j below s of (y - P_j) / G_j - y AP) / pi.
    """
    n = len(positive)
    share = positive.mean()
    if share == 0:
        return float("nan"), np.full(n, np.nan)
    levels, place = np.unique(-score, return_inverse=True)
    rows = np.bincount(place, minlength=len(levels)).astype(float)
    hits = np.bincount(place, weights=positive, minlength=len(levels))
    reached = np.cumsum(rows) / n
    precision = np.cumsum(hits) / np.cumsum(rows)
    figure = float((hits * precision).sum() / hits.sum())
    # sums over the positives at or below each level
    below = _from_here(hits / n / reached)
    weighted = _from_here(hits / n * precision / reached)
    y = positive.astype(float)
    moved = y * precision[place] + y * below[place] - weighted[place] - y * figure
    return figure, moved / share


def root_mean(squares: np.ndarray) -> Influences:
    """Square root of a mean, such as RMSE from squared errors."""
    square, influences = mean(squares)
    figure = np.sqrt(square)
    return float(figure), influences / (2 * figure) if figure else np.zeros(len(squares))


def explained(truth: np.ndarray, errors: np.ndarray) -> Influences:
    """R squared; NaN where the truth is constant."""
    spread, spread_moved = mean((truth - truth.mean()) ** 2)
    if spread == 0:
        return float("nan"), np.full(len(truth), np.nan)
    lost, lost_moved = mean(errors**2)
    return 1 - lost / spread, -lost_moved / spread + lost * spread_moved / spread**2


def of_parts(n: int, value_of: Callable[[np.ndarray], float]) -> np.ndarray | None:
    """Return influences of any function of many rows, from its values on disjoint parts of them.

    The batch means of simulation (Law and Carson 1979, Operations Research 27): the values on
    `PARTS` random parts have the variance of the whole times their number, so that each row is read
    once. Rows are divided the same each time, so that functions of the same rows can be paired.

    Parameters
    ----------
    value_of : callable
        Takes the places of some rows, int of shape (m,), and returns the function of them.

    Returns
    -------
    ndarray of float, shape (n,), or None
        Their sum of squares is that of influences; None where the function has no value on a part.
    """
    parts = np.array_split(np.random.default_rng(n).permutation(n), PARTS)
    values = np.array([value_of(part) for part in parts])
    if not np.isfinite(values).all():
        return None
    moved, more = np.empty(n), np.sqrt(PARTS / (PARTS - 1))
    for part, value in zip(parts, values - values.mean(), strict=True):
        moved[part] = value * more * np.sqrt(len(part))
    return moved


def _midranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values)


def _from_here(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values[::-1])[::-1]
