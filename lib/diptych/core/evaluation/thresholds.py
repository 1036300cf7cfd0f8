"""From which probability on the answer is the positive class: chosen on the validation set."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from diptych.core.evaluation.metrics import METRICS, Metric
from diptych.core.evaluation.scored import ScoredRows

CANDIDATES, MOST_ROWS = 200, 50_000


@dataclass(frozen=True)
class Threshold:
    """The chosen probability.

    Attributes
    ----------
    value : float
    metric : Metric
        What is best there.
    curve : DataFrame
        ``threshold`` and ``value`` of the metric at each candidate, in order.
    """

    value: float
    metric: Metric
    curve: pd.DataFrame = field(repr=False, compare=False)


def choose(rows: ScoredRows, metric: Metric, seed: int = 0) -> Threshold:
    """Return the threshold at which a metric is best on the rows.

    Of neighbouring thresholds that are equally good the middle one is taken. Of more than
    `MOST_ROWS` rows a sample decides.

    Parameters
    ----------
    rows : ScoredRows
        Of two classes, with probabilities; rows the model was not fitted on.
    metric : Metric
        One of probabilities does not depend on a threshold: its `at_threshold` decides.
    seed : int
        Of the sample.

    Raises
    ------
    MetricError
        If the metric does not suit the rows.
    """
    metric = METRICS.get(metric.at_threshold, metric)
    if len(rows) > MOST_ROWS:
        rows = rows.take(np.random.default_rng(seed).choice(len(rows), MOST_ROWS, replace=False))
    metric.check(rows)
    candidates = _between(rows.score)
    figures = np.array([metric.influences(applied(rows, at))[0] for at in candidates])
    figures = np.where(np.isnan(figures), 0.0 if metric.higher_is_better else np.inf, figures)
    best = figures.max() if metric.higher_is_better else figures.min()
    first = int(np.flatnonzero(figures == best)[0])
    after = np.flatnonzero(figures[first:] != best)
    last = first + (int(after[0]) if len(after) else len(figures) - first) - 1
    curve = pd.DataFrame({"threshold": candidates, "value": figures})
    return Threshold(float(candidates[(first + last) // 2]), metric, curve)


def applied(rows: ScoredRows, threshold: float) -> ScoredRows:
    """Return the rows with the labels predicted at a threshold of the positive class."""
    yes = rows.code(rows.positive)
    return rows.answering(np.where(rows.score >= threshold, yes, 1 - yes))


def _between(score: np.ndarray) -> np.ndarray:
    """Return probabilities between neighbouring scores, at most `CANDIDATES` and 0.5 among them."""
    levels = np.unique(score)
    middles = (levels[1:] + levels[:-1]) / 2
    if len(middles) > CANDIDATES:
        middles = np.quantile(score, np.linspace(0, 1, CANDIDATES + 2)[1:-1])
    return np.unique(np.append(middles, 0.5))


def described(rows: ScoredRows, threshold: float | None = None) -> str:
    """Say what is caught and what it takes, with intervals; "" of more than two classes.

    Parameters
    ----------
    rows : ScoredRows
        Their predicted labels count.
    threshold : float, optional
        At which they were predicted; only named.
    """
    if not rows.positive or rows.grades is not None:
        return ""
    positives, flagged = int(rows.is_positive.sum()), int(rows.says_positive.sum())
    at = "Where it is the likelier class" if threshold is None else (
        f"From the probability {threshold:.3f} on"
    )  # fmt: skip
    parts = []
    for name, n, what in (("recall", positives, "true"), ("precision", flagged, "flagged")):
        figure = METRICS[name].estimate(rows) if n else None
        value = (
            f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else "undefined"
        )
        parts.append(f"{name} {value} over {n:,} {what} rows")
    return f"{at}, {rows.positive!r} is answered: {' and '.join(parts)}."
