"""Has a share, or any metric, fallen? Sequential tests over rows, in the order the labels come.

The test is Page's CUSUM (Biometrika 41, 1954, 100-115) for single rights and wrongs (Reynolds and
Stoumbos 1999, J. Quality Technology 31, 87-108): the sum of the log likelihood ratios of "fell by
`drop`" against "as before", never below zero. It has no window to choose, so a large fall is seen
after few rows and a small one after more.

`of_metric` sums what each row takes from a metric (its influence) in place of a log likelihood
ratio, and has its limit from permutations of the rows: where nothing fell, their order says
nothing, whatever the metric and however skewed (Pitman 1937; Good 2005, "Permutation, Parametric
and Bootstrap Tests of Hypotheses").
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from diptych.core.evaluation import stats
from diptych.core.evaluation.metrics import Metric
from diptych.core.evaluation.scored import ScoredRows

DRAWS = 2_000  # streams behind a limit; its false-alarm rate is then known to about half a point
ORDERS, NUMBERS_AT_ONCE = 1_000, 2_000_000  # permutations behind the limit of a metric; of a batch
MANY = 50_000  # rows, of which a fifth of the permutations is drawn


@dataclass(frozen=True)
class Alarm:
    """The row (0 is the first) at which the alarm rang, and the first row of the fall it saw."""

    row: int
    began: int


@dataclass(frozen=True)
class Detector:
    """A CUSUM and its limit.

    Attributes
    ----------
    before, after : float
        The share right that is expected, and the one that must raise an alarm.
    limit : float
        An alarm rings where the sum exceeds it.
    rows, alpha : int, float
        Among so many rows of a share that has not fallen, the chance of any alarm.
    """

    before: float
    after: float
    limit: float
    rows: int
    alpha: float

    def path(self, correct: Sequence | np.ndarray) -> np.ndarray:
        """Return the sum after each row, shape (n,), in units of the limit: above 1 is an alarm.

        Raises
        ------
        ValueError
            If there are more rows than the limit was made for, or values other than 0 and 1.
        """
        values = np.asarray(correct, float)
        if values.ndim != 1 or not np.isin(values, (0, 1)).all():
            raise ValueError(
                "correct holds values other than 0 and 1: grade each row right or wrong."
            )
        if len(values) > self.rows:
            raise ValueError(f"correct has {len(values)} rows: the limit holds for {self.rows}.")
        good, bad = _steps(self.before, self.after)
        walk = np.concatenate([[0.0], np.cumsum(np.where(values == 1, good, bad))])
        return (walk - np.minimum.accumulate(walk))[1:] / self.limit

    def detect(self, correct: Sequence | np.ndarray) -> Alarm | None:
        """Return the first alarm, or None; takes what `path` takes."""
        sums = self.path(correct)
        over = np.flatnonzero(sums > 1)
        if not len(over):
            return None
        row = int(over[0])
        zero = np.flatnonzero(sums[: row + 1] == 0)
        return Alarm(row, int(zero[-1]) + 1 if len(zero) else 0)


def of_metric(
    metric: Metric,
    reference: ScoredRows,
    live: ScoredRows,
    margin: float,
    alpha: float = 0.05,
    seed: int = 0,
) -> Alarm | None:
    """Return at which row it is shown that a metric fell by more than a margin, or None.

    The sum is of what rows take from the metric beyond twice the margin, so it is steepest for
    falls of some margins. The chance of an alarm where the metric fell by no more than the margin
    is at most `alpha` over all rows; the error of the reference counts, too.

    Parameters
    ----------
    reference, live : ScoredRows
        The rows behind the figure at release, and those in service in order of time.
    margin : float
        In the metric's units.

    Raises
    ------
    MetricError
        If the metric does not suit the rows.
    ValueError
        If the metric is not defined on all rows together.
    """
    rows = reference.followed_by(live)
    metric.check(rows)
    value, moved = metric.influences(rows)
    if not math.isfinite(value):
        raise ValueError(f"{metric.title} is not defined on these rows.")
    gained, n = metric.sign * moved, len(reference)
    gained[n:] += margin
    path = _sums(gained[None], n, margin)[0]
    rng, tops = np.random.default_rng(seed), []
    orders = ORDERS if len(gained) <= MANY else ORDERS // 5
    for batch in np.array_split(np.arange(orders), -(-orders * len(gained) // NUMBERS_AT_ONCE)):
        drawn = rng.permuted(np.tile(gained, (len(batch), 1)), axis=1)
        tops.extend(_sums(drawn, n, margin).max(axis=1))
    # a lower share varies more than the one before, and the highest sum grows with the variance
    wider = max(1.0, gained[n:].var() / max(gained.var(), 1e-300))
    limit = wider * np.sort(tops)[-math.floor((orders + 1) * alpha)]
    over = np.flatnonzero(path > limit)
    if not len(over):
        return None
    zero = np.flatnonzero(path[: over[0] + 1] == 0)
    return Alarm(int(over[0]), int(zero[-1]) + 1 if len(zero) else 0)


def _sums(gained: np.ndarray, n: int, least: float) -> np.ndarray:
    """Return the CUSUM over the columns after the first `n`, of what is lost against those."""
    lost = gained[:, :n].mean(axis=1, keepdims=True) - gained[:, n:] - least
    walk = np.cumsum(lost, axis=1)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=1), 0)


def detector(
    right: int, n: int, drop: float, rows: int, alpha: float = 0.05, seed: int = 0
) -> Detector:
    """Make a detector of a fall by `drop` below a share that was measured once.

    The share is an estimate itself: the streams behind the limit each have a share that could
    have given it (Jeffreys' posterior). With few reference rows the limit is therefore higher.

    Parameters
    ----------
    right, n : int
        Of `n` reference rows so many were right.
    drop : float
        The fall that matters, as a difference of shares.
    rows : int
        How many rows the stream will have at most.
    alpha : float
        Chance of any false alarm among them.

    Raises
    ------
    ValueError
        If a number is out of its range, or the share cannot fall that far.
    """
    if not 0 <= right <= n or n < 1:
        raise ValueError(f"right is {right} of n = {n}: give 0 to n, and at least one row.")
    if rows < 1 or not 1 / DRAWS < alpha < 1:
        raise ValueError(f"rows is {rows}, alpha {alpha}: give 1 or more, and {1 / DRAWS} to 1.")
    before = (right + 0.5) / (n + 1)
    if not 0 < drop < before:
        raise ValueError(f"drop is {drop}: the share is {before:.3f}; give one above 0 and below.")
    limit = _limit(right, n, before - drop, rows, alpha, seed)
    return Detector(before, before - drop, limit, rows, alpha)


@lru_cache(maxsize=512)
def _limit(right: int, n: int, after: float, rows: int, alpha: float, seed: int) -> float:
    """Return what the highest sum of a stream that has not fallen exceeds with chance alpha."""
    rng = np.random.default_rng([seed, right, n, rows])
    share = rng.beta(right + 0.5, n - right + 0.5, DRAWS)
    good, bad = _steps((right + 0.5) / (n + 1), after)
    total, highest = np.zeros(DRAWS), np.zeros(DRAWS)
    for _ in range(rows):
        total = np.maximum(total + np.where(rng.random(DRAWS) < share, good, bad), 0)
        np.maximum(highest, total, out=highest)
    return max(float(np.sort(highest)[-math.floor((DRAWS + 1) * alpha)]), bad / 2)


def _steps(before: float, after: float) -> tuple[float, float]:
    """Return what a right and a wrong add."""
    return math.log(after / before), math.log((1 - after) / (1 - before))


def rehearse(
    share: float,
    n: int,
    drop: float,
    rows: int,
    alpha: float = 0.05,
    streams: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Try the detector on streams whose truth is known: as many stable ones as with a fall.

    Every stream has a reference of its own, measured on `n` rows, and half of the streams fall by
    `drop` at a row of the middle half.

    Parameters
    ----------
    share : float
        True share right before any fall; the other parameters are those of `detector`.
    streams : int
        Of each kind.

    Returns
    -------
    DataFrame
        One line a stream: ``fell`` (row of the fall, -1 in a stable stream), ``alarm`` (row, -1
        for none).
    """
    if not drop < share <= 1 or streams < 1:
        raise ValueError(
            f"share is {share}, streams {streams}: give one above drop, and 1 or more."
        )
    # not the numbers the limits were drawn from
    rng = np.random.default_rng([seed, streams, 7])
    lines = []
    for number in range(2 * streams):
        fell = int(rng.integers(rows // 4, 3 * rows // 4 + 1)) if number % 2 else -1
        right = int(rng.binomial(n, share))
        chance = np.full(rows, share)
        if fell >= 0:
            chance[fell:] -= drop
        test = detector(right, n, drop, rows, alpha, seed)
        alarm = test.detect(rng.random(rows) < chance)
        lines.append((fell, alarm.row if alarm else -1))
    return pd.DataFrame(lines, columns=["fell", "alarm"])


def rates(rehearsed: pd.DataFrame) -> pd.DataFrame:
    """Return what `rehearse` shows, with Wilson intervals.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``n``, ``delay`` (median of rows from the fall to
        the alarm): the share of stable streams with an alarm, of falls found, and of falling
        streams whose alarm came too early, which counts as not found.
    """
    falls = rehearsed["fell"] >= 0
    stable, falling = rehearsed[~falls], rehearsed[falls]
    detected = falling[falling["alarm"] >= falling["fell"]]
    early = (falling["alarm"] >= 0) & (falling["alarm"] < falling["fell"])
    delay = float((detected["alarm"] - detected["fell"] + 1).median())
    lines = []
    for name, count, n, rows in (
        ("stable, alarm", int((stable["alarm"] >= 0).sum()), len(stable), math.nan),
        ("fall detected", len(detected), len(falling), delay),
        ("alarm before the fall", int(early.sum()), len(falling), math.nan),
    ):
        share = stats.wilson(count, n)
        lines.append({"name": name, "delay": rows} | asdict(share))
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n", "delay"])
