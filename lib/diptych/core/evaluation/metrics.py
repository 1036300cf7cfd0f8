"""Metrics: each one's figure, its interval and its paired comparison, the same in both lifecycles.

A task names one metric, which selects, gates, compares and monitors; others are reported. The
figures are scikit-learn's (a test holds that). Errors come from influence functions
(`diptych.core.evaluation.influence`), those of shares from Wilson's interval.
`benchmarks/CALIBRATION.md` shows the coverage of every interval by simulation. Where a class
has not rows enough for an interval to hold what it promises, `Figure.note` says so.

To add a metric, write its influences and enter it in `BEST_FIRST`; or register a function in a
plugin (`diptych.face.register.metric`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diptych.base import plugins
from diptych.base.errors import Plain
from diptych.core.evaluation import influence
from diptych.core.evaluation.influence import Influences
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.evaluation.stats import Estimate, mcnemar, rows_needed, wilson

LABELS, PROBABILITIES, NUMBERS, GRADES = "labels", "probabilities", "numbers", "grades"
LABELS_OR = (LABELS, PROBABILITIES)
FEWEST = 10  # rows of the rarest class, below which intervals other than Wilson's are not relied on
RARE = 0.2  # share of the rarer of two classes below which accuracy says little
MOST_EXPONENT = 700.0  # of what a float still holds
CLIP = 1e-15  # of probabilities in the log loss


class MetricError(Plain, ValueError):
    """A metric is unknown or cannot be computed; the message says what to do."""


@dataclass(frozen=True)
class Figure(Estimate):
    """A metric's figure with its interval.

    Attributes
    ----------
    note : str
        Why the interval may not be relied on, else "".
    """

    note: str = ""

    @property
    def reliable(self) -> bool:
        """Whether the figure and its interval may decide something."""
        return not self.note and all(map(math.isfinite, (self.value, self.low, self.high)))


# (successes, trials) of each share that a metric is made of
Counts = Callable[[ScoredRows], list[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class Metric:
    """One way to say how good predictions are.

    Attributes
    ----------
    name : str
        As tasks and parameters give it.
    title : str
        What pages call it.
    influences : callable
        Returns the figure and how much each row moves it.
    needs : str
        ``"labels"``, ``"probabilities"``, ``"numbers"`` or ``"grades"``: what the rows must hold.
    higher_is_better : bool
    binary : bool
        Whether it looks for one class of two.
    positive : str
        The class that binary metrics and areas look for; "" takes the rarer one.
    spec : str
        As `parse` takes it.
    low, high : float
        The metric's range.
    counts : callable, optional
        Of metrics made of shares, whose interval is Wilson's.
    of_share : callable
        Turns such a share, or the mean of the losses, into the metric; monotonic.
    losses : callable, optional
        Row-wise, of metrics that rest on their mean.
    alike : bool
        Whether every row counts alike, whatever its class; else the error rests on the rows of
        the rarest class.
    right_or_wrong : bool
        Whether each row is simply right or wrong: McNemar's test compares such rows.
    ranks : bool
        Whether only the order of the probabilities counts.
    at_threshold : str
        The metric of labels that sets the threshold in its place; "" is itself.
    scale : str
        On which the interval is Student's: ``"logit"``, ``"z"`` (Fisher's) or ``"log of 1 - x"``.
    fewest : int
        Rows below which the interval is not relied on.
    step : float
        The most that one row can lose, where the losses of rows are few different ones, as costs
        are; 0 where that is not known.
    quantile : float, optional
        Of numbers: which quantile of the true ones it is least at; None is the mean.
    """

    name: str
    title: str
    influences: Callable[[ScoredRows], Influences] = field(repr=False)
    needs: str = LABELS
    higher_is_better: bool = True
    binary: bool = False
    positive: str = ""
    spec: str = ""
    low: float = 0.0
    high: float = 1.0
    counts: Counts | None = field(default=None, repr=False)
    of_share: Callable[[float], float] = field(default=float, repr=False)
    losses: Callable[[ScoredRows], np.ndarray] | None = field(default=None, repr=False)
    alike: bool = False
    right_or_wrong: bool = False
    ranks: bool = False
    at_threshold: str = ""
    scale: str = "logit"
    fewest: int = 0
    step: float = 0.0
    quantile: float | None = None

    def __post_init__(self) -> None:
        if self.needs in (NUMBERS, GRADES) or self.losses is not None:
            object.__setattr__(self, "alike", True)
        if not self.spec:
            parts = (self.name, self.positive) if self.positive else (self.name,)
            object.__setattr__(self, "spec", ":".join(parts))

    def check(self, rows: ScoredRows) -> None:
        """Refuse rows that do not hold what the metric needs.

        Raises
        ------
        MetricError
            With the metric, what is missing and the remedy.
        """
        kind = _kind(rows)
        if kind != (LABELS if self.needs == PROBABILITIES else self.needs):
            suits = LABELS_OR if kind == LABELS else (kind,)
            names = ", ".join(m.name for m in METRICS.values() if m.needs in suits)
            raise MetricError(f"metric: {self.name} does not suit {kind}; take one of {names}")
        if len(rows) < 2:
            raise MetricError(
                f"metric: {self.name} needs at least 2 rows, and there are {len(rows)}"
            )
        if self.needs == PROBABILITIES and rows.probabilities is None:
            raise MetricError(
                f"metric: {self.name} needs probabilities, and these predictions have none; take "
                "a metric of labels, such as accuracy or macro_f1"
            )
        if self.binary and not rows.positive:
            raise MetricError(
                f"metric: {self.name} looks for one class of two, and there are "
                f"{len(rows.classes)}; take macro_f1 or balanced_accuracy, or name the positive one"
            )
        if kind == NUMBERS and not np.isfinite(rows.predicted).all():
            failed = int((~np.isfinite(rows.predicted)).sum())
            raise MetricError(
                f"metric: {self.name}: {failed} of {len(rows)} rows have no predicted number; "
                "a figure over the others would flatter"
            )

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1

    def scored(
        self,
        truth: Sequence | np.ndarray,
        predicted: Sequence | np.ndarray,
        probabilities: ArrayLike | None = None,
        classes: Sequence[str] = (),
    ) -> ScoredRows:
        """Return labelled rows as the metric takes them; see `ScoredRows.of_labels`.

        Labels of the truth that are none of the `classes` have the probability 0.
        """
        others = sorted(set(np.asarray(truth, object).tolist()) - set(classes))
        if classes and others and probabilities is not None:
            probabilities = np.column_stack(
                [np.asarray(probabilities), np.zeros((len(truth), len(others)))]
            )
        classes = [*classes, *others] if classes else ()
        positive = self.positive if len(classes or set(truth)) == 2 else ""
        return ScoredRows.of_labels(truth, predicted, probabilities, classes, positive)

    def figure(self, rows: ScoredRows) -> float:
        """Return the figure alone; NaN where the rows cannot have one; raises as `check` does."""
        self.check(rows)
        return self.influences(rows)[0]

    def estimate(self, rows: ScoredRows, level: float = 0.95) -> Figure:
        """Return the figure with its interval.

        Shares have Wilson's interval, means of shares that of Zou and Donner 2008 from Wilson's,
        means of losses Hall's (1992), which allows for their skew; other metrics Student's, on the
        scale of the logit (bounded ones), of Fisher's z or of the logarithm.

        Raises
        ------
        MetricError
            As `check` does.
        """
        self.check(rows)
        value, moved = self.influences(rows)
        if not math.isfinite(value):
            return Figure(value, value, value, len(rows), self._why_undefined(rows))
        if rows.grades is not None and np.isin(rows.grades, (0, 1)).all():
            share = wilson(int(rows.grades.sum()), len(rows), level)
            return Figure(value, share.low, share.high, len(rows))
        if self.counts is not None:
            low, high = self._of_shares(value, self.counts(rows), level)
            return Figure(value, low, high, len(rows))
        low, high = self._transformed(value, moved, rows, level)
        note = self._too_few(rows)
        if len(rows) < self.fewest:
            note = (
                f"{len(rows)} rows are too few for an interval of {self.title}; it takes "
                f"{self.fewest}"
            )
        return Figure(value, low, high, len(rows), note)

    def improvement(self, new: ScoredRows, old: ScoredRows, level: float = 0.95) -> Figure:
        """Return how much better `new` is than `old` on the same rows, paired row by row.

        Positive is better, also where less of the metric is better. As Agresti and Min (2005) do,
        one row won by each side is added, so that two models that agree on all of 20 rows do not
        have an interval of width zero.

        Raises
        ------
        MetricError
            As `check` does, and if the rows differ.
        """
        same_rows(new, old)
        return self._of_moves(*self._moves(new, old), new, level)

    def _gap(self, new: ScoredRows, old: ScoredRows) -> tuple[float, float]:
        """Return how much better `new` is, and the standard error of that."""
        same_rows(new, old)
        value, moved = self._moves(new, old)
        return value, self.standard_error(moved, new)

    def drop(self, before: ScoredRows, after: ScoredRows, level: float = 0.95) -> Figure:
        """Return how much worse the answers are after rows were changed, paired row by row.

        Positive is worse. Unlike those of `improvement`, a row's true label may differ: a negated
        text has another. Raises `MetricError` as `check` does, and if the numbers of rows differ.
        """
        return self._of_moves(*self._moves(before, after), before, level)

    def apart(
        self,
        one: tuple[ScoredRows, ScoredRows],
        other: tuple[ScoredRows, ScoredRows],
        level: float = 0.95,
    ) -> Figure:
        """Return how much more `one` drops than `other`, on the same rows.

        Each is a pair as `drop` takes it. Raises `MetricError` as `drop` does.
        """
        (a, moved_a), (b, moved_b) = self._moves(*one), self._moves(*other)
        if len(moved_a) != len(moved_b):
            raise MetricError(f"rows: one side has {len(moved_a)}, the other {len(moved_b)}")
        return self._of_moves(a - b, moved_a - moved_b, one[0], level)

    def _moves(self, better: ScoredRows, worse: ScoredRows) -> tuple[float, np.ndarray]:
        """Return by how much the one figure is better, and what each row adds to that."""
        if len(better) != len(worse):
            raise MetricError(f"rows: one side has {len(better)}, the other {len(worse)}")
        self.check(better)
        self.check(worse)
        (a, moved_a), (b, moved_b) = self.influences(better), self.influences(worse)
        return self.sign * (a - b) + 0.0, self.sign * (moved_a - moved_b)  # never -0.000

    def _of_moves(self, value: float, moved: np.ndarray, rows: ScoredRows, level: float) -> Figure:
        if not math.isfinite(value):
            return Figure(value, value, value, len(rows), self._why_undefined(rows))
        half = _quantile(level, self._rows_behind(rows)) * self.standard_error(moved, rows)
        return Figure(value, value - half, value + half, len(rows), self._too_few(rows))

    def p_value(self, new: ScoredRows, old: ScoredRows) -> float:
        """Return the p-value that both are equally good; NaN where it cannot be had.

        Of right and wrong rows it is McNemar's exact test, else Student's of the improvement.
        """
        from scipy.stats import t

        if self.right_or_wrong:
            return mcnemar(_right(new), _right(old))
        value, error = self._gap(new, old)
        if self._too_few(new) or not math.isfinite(value + error):
            return math.nan
        if error == 0:
            return 1.0
        return float(2 * t.sf(abs(value) / error, max(self._rows_behind(new) - 1, 1)))

    def rows_needed(self, new: ScoredRows, old: ScoredRows, margin: float) -> int | None:
        """Return on how many rows a difference of `margin` would show; None if on none.

        With a chance of 80 %, at a level of 95 %, if the two differ on rows as they do here.
        """
        if self.right_or_wrong:
            return rows_needed(_right(new), _right(old), margin)
        spread = self.spread(new, old)
        if not margin > 0 or not math.isfinite(spread):
            return None
        return math.ceil((2.8016 * spread / margin) ** 2)  # 1.960 + 0.842

    def spread(self, new: ScoredRows, old: ScoredRows) -> float:
        """Return the standard deviation of one row's part in `improvement`, for sample sizes."""
        return self._gap(new, old)[1] * math.sqrt(len(new))

    @property
    def best_at_half(self) -> bool:
        """Whether honest probabilities do best if the more probable class is answered."""
        at = METRICS.get(self.at_threshold, self)
        return at.right_or_wrong or at.needs == GRADES

    def standard_error(self, moved: np.ndarray, rows: ScoredRows) -> float:
        """Return the standard error from influences, with a row more on either side."""
        step = self._step(rows)
        squares = float(moved @ moved) + 2 * step**2
        return math.sqrt(squares) / (len(moved) + (2 if step else 0))

    def _step(self, rows: ScoredRows) -> float:
        """Return the most that one row can move the metric, times n; 0 of what has no such end."""
        if self.step:
            return self.step
        if self.needs == NUMBERS or self.losses is not None:
            return 0.0
        if self.alike:
            return 1.0
        if self.binary:
            return 1 / max(float(rows.is_positive.mean()), 1 / len(rows))
        counts = class_counts(rows)
        return len(rows) / (len(counts) * max(int(counts.min()), 1))

    def _rows_behind(self, rows: ScoredRows) -> int:
        """Return how many rows the error rests on: all, or those of the rarest class."""
        if self.alike:
            return len(rows)
        return max(int(class_counts(rows).min()), 1)

    def _too_few(self, rows: ScoredRows) -> str:
        if self.alike and self.needs != PROBABILITIES:
            return ""
        counts = class_counts(rows)
        if counts.min() >= FEWEST:
            return ""
        rarest, least = rows.classes[int(counts.argmin())], int(counts.min())
        number = (
            f"{least} row of {rarest!r} is" if least == 1 else f"{least} rows of {rarest!r} are"
        )
        return f"{number} too few for an interval of {self.title}; it takes {FEWEST}"

    def _why_undefined(self, rows: ScoredRows) -> str:
        if self.binary and (rows.is_positive.all() or not rows.is_positive.any()):
            which = "only" if rows.is_positive.all() else "no"
            return f"{self.title} is not defined: there are {which} rows of {rows.positive!r}"
        return f"{self.title} is not defined on these rows"

    def _of_shares(
        self, value: float, counts: list[tuple[int, int]], level: float
    ) -> tuple[float, float]:
        if len(counts) == 1:
            share = wilson(*counts[0], level)
            return self.of_share(share.low), self.of_share(share.high)
        shares = [wilson(*pair, level) for pair in counts]
        centre = [self.of_share(share.value) for share in shares]
        below = [c - self.of_share(s.low) for c, s in zip(centre, shares, strict=True)]
        above = [self.of_share(s.high) - c for c, s in zip(centre, shares, strict=True)]
        return value - math.hypot(*below) / len(counts), value + math.hypot(*above) / len(counts)

    def _transformed(
        self, value: float, moved: np.ndarray, rows: ScoredRows, level: float
    ) -> tuple[float, float]:
        error = float(np.sqrt(moved @ moved)) / len(moved)
        half = _quantile(level, self._rows_behind(rows)) * error
        if self.scale == "z":
            return tuple(
                np.tanh(_ends(np.arctanh(_inside(value, -1, 1)), half / (1 - value**2 + 1e-9)))
            )
        if self.losses is not None:
            low, high = _hall(self.losses(rows), level, self.low)
            return self.of_share(low), self.of_share(high)
        if self.scale == "log of 1 - x" and value < 1:
            low, high = _ends(math.log(1 - value), half / (1 - value))
            return 1 - math.exp(min(high, MOST_EXPONENT)), 1 - math.exp(low)
        return self._bounded(value, half, rows, level)

    def _bounded(
        self, value: float, half: float, rows: ScoredRows, level: float
    ) -> tuple[float, float]:
        """Return the ends on the logit scale; of a perfect figure Wilson's, of the rarest class."""
        if half == 0 or not 0 < value < 1:
            n = self._rows_behind(rows)
            share = wilson(round(value * n), n, level)
            return min(share.low, value), max(share.high, value)
        low, high = _ends(math.log(value / (1 - value)), half / (value * (1 - value)))
        return _sigmoid(low), _sigmoid(high)


def _kind(rows: ScoredRows) -> str:
    """Return what the rows hold: labels, numbers or grades."""
    if rows.grades is not None:
        return GRADES
    return NUMBERS if rows.truth.dtype.kind == "f" else LABELS


def same_rows(new: ScoredRows, old: ScoredRows) -> None:
    """Refuse to compare predictions of different rows.

    Raises
    ------
    MetricError
        If the number of rows or a true value differs.
    """
    same = new.truth is old.truth or np.array_equal(new.truth, old.truth)
    if len(new) != len(old) or not same:
        raise MetricError(
            f"rows: one side has {len(new)} and the other {len(old)}, or their true values "
            "differ; score both on the same rows in one order"
        )


def class_counts(rows: ScoredRows) -> np.ndarray:
    """Return how many rows each class has, shape (len(classes),)."""
    return np.bincount(rows.true_codes, minlength=len(rows.classes))[: len(rows.classes)]


def _present(rows: ScoredRows) -> list[str]:
    """Return the classes that have rows, in order."""
    return [name for name, n in zip(rows.classes, class_counts(rows), strict=True) if n]


def _quantile(level: float, rows: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(rows - 1, 1), 0.5 + level / 2))


def _hall(values: np.ndarray, level: float, least: float) -> tuple[float, float]:
    """Return the interval of a mean of skewed values (Hall 1992, Annals of Statistics 20)."""
    n, value, spread = len(values), float(values.mean()), float(values.std(ddof=1))
    if spread == 0:
        return value, value
    error, reach = spread / math.sqrt(n), _quantile(level, n)
    apart = (values - value) / spread
    skew = float((apart * apart * apart).mean()) / math.sqrt(n)  # ten times as fast as ** 3
    if abs(skew) < 1e-9:  # as of two rows
        return max(value - reach * error, least), value + reach * error

    def corrected(x: float) -> float:
        return 3 / skew * (float(np.cbrt(1 + skew * (x - skew / 6))) - 1)

    low, high = sorted((value - corrected(reach) * error, value - corrected(-reach) * error))
    return max(low, least), high


def _ends(centre: float, half: float) -> tuple[float, float]:
    return centre - half, centre + half


def _sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)), 0 where that is nearly so: a row or two say almost nothing."""
    return 1 / (1 + math.exp(min(-x, MOST_EXPONENT)))


def _inside(value: float, low: float, high: float) -> float:
    return min(max(value, low + 1e-9), high - 1e-9)


def _right(rows: ScoredRows) -> np.ndarray:
    return rows.right.astype(float)


def _both(rows: ScoredRows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return whether the true and whether the predicted label is a class, bool of shape (n,)."""
    code = rows.code(name)
    return rows.true_codes == code, rows.predicted_codes == code


def _recall_of(rows: ScoredRows, name: str) -> Influences:
    true, predicted = _both(rows, name)
    return influence.ratio((true & predicted).astype(float), true.astype(float))


def _f1_of(rows: ScoredRows, name: str) -> Influences:
    true, predicted = _both(rows, name)
    return influence.ratio(2.0 * (true & predicted), true.astype(float) + predicted)


def _precision(rows: ScoredRows) -> Influences:
    true, predicted = _both(rows, rows.positive)
    return influence.ratio((true & predicted).astype(float), predicted.astype(float))


def _accuracy_counts(rows: ScoredRows) -> list:
    return [(int(rows.right.sum()), len(rows))]


def _recall_counts(rows: ScoredRows, names: Sequence[str] = ()) -> list[tuple[int, int]]:
    pairs = []
    for name in names or [rows.positive]:
        true, predicted = _both(rows, name)
        pairs.append((int((true & predicted).sum()), int(true.sum())))
    return pairs


def _precision_counts(rows: ScoredRows) -> list:
    true, predicted = _both(rows, rows.positive)
    return [(int((true & predicted).sum()), int(predicted.sum()))]


def _jaccard_counts(rows: ScoredRows, names: Sequence[str] = ()) -> list[tuple[int, int]]:
    pairs = []
    for name in names or [rows.positive]:
        true, predicted = _both(rows, name)
        pairs.append((int((true & predicted).sum()), int((true | predicted).sum())))
    return pairs


def _f1_of_jaccard(share: float) -> float:
    """F1 grows with the share of rows in the union that are in both (Lam et al. 2309.14621)."""
    return 2 * share / (1 + share)


def _scored(rows: ScoredRows) -> list[str]:
    """Return the classes that macro averages go over: those of the truth or of a prediction."""
    predicted = np.bincount(rows.predicted_codes, minlength=len(rows.classes))
    true = np.bincount(rows.true_codes, minlength=len(rows.classes))
    return [name for i, name in enumerate(rows.classes) if true[i] + predicted[i]]


def _macro(part: Callable, names: Callable) -> Callable[[ScoredRows], Influences]:
    return lambda rows: influence.average([part(rows, name) for name in names(rows)])


def _area(area: Callable) -> Callable[[ScoredRows], Influences]:
    """Area under a curve of the positive class; of more than two classes the mean over them."""

    def influences(rows: ScoredRows) -> Influences:
        if rows.positive:
            return area(rows.is_positive, rows.score)
        parts = [area(rows.true_codes == i, rows.shares[:, i]) for i in range(len(rows.classes))]
        return influence.average(parts)

    return influences


def _of_truth(rows: ScoredRows) -> np.ndarray:
    """Probability of the true class; 0 where the model does not know that class."""
    shares = np.append(rows.shares, np.zeros((len(rows), 1)), axis=1)
    return shares[np.arange(len(rows)), rows.true_codes]


def _log_losses(rows: ScoredRows) -> np.ndarray:
    return -np.log(np.clip(_of_truth(rows), CLIP, 1 - CLIP))


def _brier_losses(rows: ScoredRows) -> np.ndarray:
    """Squared distance of the probabilities from the truth, halved for two classes."""
    squares = (rows.shares**2).sum(axis=1) - 2 * _of_truth(rows) + 1
    return squares / 2 if len(rows.classes) == 2 else squares


def pinball(quantile: float) -> Metric:
    """Return the pinball loss of a quantile (Koenker and Bassett 1978)."""

    def losses(rows: ScoredRows) -> np.ndarray:
        short = rows.truth - rows.predicted
        return np.maximum(quantile * short, (quantile - 1) * short)

    title = f"pinball loss at {quantile:g}"
    return _loss(f"pinball_{quantile:g}", title, losses, needs=NUMBERS, quantile=quantile)


def cost(matrix: Mapping[str, Mapping[str, float]], currency: str = "") -> Metric:
    """Return the mean cost of a prediction.

    Parameters
    ----------
    matrix : mapping of true label to mapping of predicted label to cost
        What is not named costs 0 where the label is right, and may not be missing elsewhere.
    currency : str

    Raises
    ------
    MetricError
        When it meets a pair of labels without a cost.
    """

    def costs(rows: ScoredRows) -> np.ndarray:
        def of(true: str, predicted: str) -> float:
            if predicted == true:
                return matrix.get(true, {}).get(predicted, 0.0)
            try:
                return matrix[true][predicted]
            except KeyError:
                raise MetricError(
                    f"cost: none is given for predicting {predicted!r} where {true!r} is true"
                ) from None

        names = rows.classes
        _, first, place = np.unique(
            rows.true_codes * (len(names) + 1) + rows.predicted_codes, return_index=True,
            return_inverse=True,
        )  # fmt: skip
        each = np.array([of(rows.truth[at], rows.predicted[at]) for at in first])[place]
        # labels that are no class share a code, not a cost
        none = (rows.true_codes == len(names)) | (rows.predicted_codes == len(names))
        for at in np.flatnonzero(none):
            each[at] = of(rows.truth[at], rows.predicted[at])
        return each

    title = f"cost per row{f' in {currency}' if currency else ''}"
    every = [0.0, *(amount for line in matrix.values() for amount in line.values())]
    return _loss("cost", title, costs, low=-math.inf, step=max(every) - min(every))


def _loss(name: str, title: str, losses: Callable, needs: str = LABELS, **fields: Any) -> Metric:
    """Return a metric that is the mean of row-wise losses."""
    return Metric(
        name, title, lambda rows: influence.mean(losses(rows)), needs,
        higher_is_better=False, high=math.inf, losses=losses, **fields,
    )  # fmt: skip


FEWEST_R2 = 300  # rows; on 200 a 95 % interval covers 0.926
BEST_FIRST = (
    Metric("accuracy", "accuracy", lambda rows: influence.mean(_right(rows)),
           counts=_accuracy_counts, alike=True, right_or_wrong=True),
    Metric("balanced_accuracy", "balanced accuracy", _macro(_recall_of, _present),
           counts=lambda rows: _recall_counts(rows, _present(rows))),
    Metric("macro_f1", "macro F1", _macro(_f1_of, _scored)),
    Metric("f1", "F1", lambda rows: _f1_of(rows, rows.positive), binary=True,
           counts=_jaccard_counts, of_share=_f1_of_jaccard),
    Metric("precision", "precision", _precision, binary=True, counts=_precision_counts),
    Metric("recall", "recall", lambda rows: _recall_of(rows, rows.positive), binary=True,
           counts=_recall_counts),
    Metric("mcc", "Matthews correlation", lambda rows: influence.matthews(
        rows.true_codes, rows.predicted_codes, len(rows.classes)),
        low=-1.0, scale="z"),
    Metric("roc_auc", "ROC-AUC", _area(influence.roc_auc), PROBABILITIES, ranks=True,
           at_threshold="balanced_accuracy"),
    Metric("average_precision", "average precision (PR-AUC)", _area(influence.average_precision),
           PROBABILITIES, ranks=True, at_threshold="f1"),
    _loss("log_loss", "log loss", _log_losses, PROBABILITIES, at_threshold="accuracy"),
    _loss("brier", "Brier score", _brier_losses, PROBABILITIES, at_threshold="accuracy"),
    Metric("rmse", "RMSE", lambda rows: influence.root_mean(rows.errors**2), NUMBERS,
           higher_is_better=False, high=math.inf, losses=lambda rows: rows.errors**2,
           of_share=math.sqrt),
    _loss("mae", "mean absolute error", lambda rows: np.abs(rows.errors), NUMBERS,
          quantile=0.5),
    Metric("r2", "R²", lambda rows: influence.explained(rows.truth, rows.errors), NUMBERS,
           low=-math.inf, scale="log of 1 - x", fewest=FEWEST_R2),
    pinball(0.1),
    pinball(0.9),
    Metric("grade", "mean grade", lambda rows: influence.mean(np.asarray(rows.grades)), GRADES),
)  # fmt: skip
METRICS = plugins.Registry(
    "metric", {metric.name: metric for metric in BEST_FIRST}, "core.evaluation.added_metrics"
)


def get(name: str) -> Metric:
    """Return a metric by its name.

    Raises
    ------
    MetricError
        If there is none of this name.
    """
    return METRICS.named(name, MetricError)


def parse(spec: str) -> Metric:
    """Return the metric that a parameter names.

    Parameters
    ----------
    spec : str
        A name; of a metric of one class also the class, ``"recall:yes"``; or the costs of errors,
        ``"cost:yes>no=50,no>yes=2"``: predicting no where yes is true costs 50.

    Raises
    ------
    MetricError
        If it names no metric, or costs cannot be read.
    """
    name, _, rest = spec.partition(":")
    if name == "cost":
        return replace(cost(_costs(rest)), spec=spec)
    metric = get(name)
    if rest and not _one_class(metric):
        raise MetricError(f"metric: {name} looks for no single class; leave out {':' + rest!r}")
    return replace(metric, positive=rest, spec=spec) if rest else metric


def _one_class(metric: Metric) -> bool:
    return metric.binary or metric.ranks


def _costs(text: str) -> dict[str, dict[str, float]]:
    matrix: dict[str, dict[str, float]] = {}
    for part in text.split(","):
        pair, _, amount = part.rpartition("=")
        true, _, predicted = pair.partition(">")
        try:
            matrix.setdefault(true.strip(), {})[predicted.strip()] = float(amount)
        except ValueError:
            true = ""
        if not true.strip() or not predicted.strip():
            raise MetricError(
                f"metric: 'cost:{text}' cannot be read at {part!r}; write true>predicted=cost, "
                "such as cost:yes>no=50,no>yes=2"
            )
    return matrix


def settle(spec: str, truth: ArrayLike) -> tuple[str, str]:
    """Return the metric that decides for a task, and why, as a sentence.

    Parameters
    ----------
    spec : str
        As `parse` takes it; "" lets the labels decide.
    truth : array of shape (n,)
        Labels of the training set, or numbers.

    Returns
    -------
    spec : str
        With the class that it looks for, if it looks for one.
    reason : str

    Raises
    ------
    MetricError
        If the metric does not suit the labels, or its class is none of them.
    """
    truth = np.asarray(truth)
    numeric = truth.dtype.kind in "fi"
    if not spec:
        return _by_balance(truth)
    metric = parse(spec)
    if metric.needs == GRADES or (metric.needs == NUMBERS) != numeric:
        suits = (NUMBERS,) if numeric else LABELS_OR
        names = ", ".join(m.name for m in METRICS.values() if m.needs in suits)
        kind = "numbers" if numeric else "classes"
        raise MetricError(f"metric: {spec!r} does not suit {kind}; take one of {names}, or cost:…")
    classes = sorted(set(truth.tolist()))
    if metric.positive and metric.positive not in classes:
        raise MetricError(
            f"metric: {metric.positive!r} in {spec!r} is no class; take one of {', '.join(classes)}"
        )
    if metric.binary and len(classes) != 2:
        raise MetricError(
            f"metric: {spec!r} looks for one class of two, and there are {len(classes)}; take "
            "macro_f1 or balanced_accuracy"
        )
    if _one_class(metric) and not metric.positive and len(classes) == 2:
        metric = replace(metric, positive=_rarest(truth)[0], spec="")
    return metric.spec, "It was chosen by the parameter `metric`."


def _rarest(truth: np.ndarray) -> tuple[str, float, int]:
    """Return the rarest class, its share of the rows, and how many classes there are."""
    names, counts = np.unique(truth.astype(str), return_counts=True)
    return str(names[counts.argmin()]), float(counts.min() / counts.sum()), len(names)


def _by_balance(truth: np.ndarray) -> tuple[str, str]:
    if truth.dtype.kind in "fi":
        return "rmse", "The label is a number: RMSE."
    rarest, share, classes = _rarest(truth)
    balance = f"The rarest of {classes} classes, {rarest}, has {share:.1%} of the training set"
    if classes == 2 and share < RARE:
        return f"average_precision:{rarest}", (
            f"{balance}: always answering the other would reach an accuracy of {1 - share:.3f}, so "
            "average precision (PR-AUC) is used."
        )
    if classes > 2 and share < 1 / (2 * classes):
        return "macro_f1", f"{balance}: macro F1, in which each class counts alike."
    return "accuracy", f"{balance}: accuracy."
