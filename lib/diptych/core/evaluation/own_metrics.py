"""Metrics of your own: a function of labels and predictions, with its bootstrap interval."""

import inspect
import math
from collections.abc import Callable, Sequence

import numpy as np

from diptych.core.evaluation import influence
from diptych.core.evaluation.metrics import MetricError
from diptych.core.evaluation.stats import Estimate

RESAMPLES = 400


def takes_probabilities(function: Callable) -> bool:
    """Return whether a metric has a third argument by place without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some written in C
        return False
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(x.kind in by_place and x.default is x.empty for x in parameters) >= 3


def measure(name: str, function: Callable, arrays: Sequence[np.ndarray], seed: int) -> Estimate:
    """Return a metric of some rows with its 95 % percentile bootstrap interval over them.

    Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 13. The interval is NaN
    where more than a tenth of the resamples give no number, as if a class is rare. Of more than
    100,000 rows it is Student's, from parts of them, see `influence.of_parts`.

    Parameters
    ----------
    name : str
        How messages call it.
    function : callable
        Takes the arrays, returns a number.
    arrays : sequence of array, each of length n
        Labels, predictions and, if it takes them, probabilities.

    Raises
    ------
    MetricError
        If it fails, or gives no number for all rows.
    """
    value, rows = _number(name, function, arrays), len(arrays[0])
    if rows > influence.MANY:
        return _of_parts(name, function, arrays, value)
    draw, values = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        chosen = draw.integers(0, rows, rows)
        values.append(_number_or_nan(name, function, [array[chosen] for array in arrays]))
    if np.isnan(values).mean() > 0.1:
        return Estimate(value, math.nan, math.nan, rows)
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Estimate(value, float(low), float(high), rows)


def _of_parts(name: str, function: Callable, arrays: Sequence, value: float) -> Estimate:
    from scipy.special import stdtrit

    n = len(arrays[0])
    moved = influence.of_parts(
        n, lambda part: _number_or_nan(name, function, [array[part] for array in arrays])
    )
    if moved is None:
        return Estimate(value, math.nan, math.nan, n)
    half = float(stdtrit(influence.PARTS - 1, 0.975)) * math.sqrt(moved @ moved) / n
    return Estimate(value, value - half, value + half, n)


def shown(estimate: Estimate) -> str:
    """Return an estimate as a cell of a leaderboard."""
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _number_or_nan(name: str, function: Callable, arrays: Sequence[np.ndarray]) -> float:
    try:
        return _number(name, function, arrays)
    except MetricError:
        return math.nan


def _number(name: str, function: Callable, arrays: Sequence[np.ndarray]) -> float:
    try:
        value = float(function(*arrays))
    except Exception as error:  # whatever it raises
        raise MetricError(f"{name}: the metric failed: {type(error).__name__}: {error}") from error
    if not math.isfinite(value):
        raise MetricError(f"{name}: the metric gave {value}; it must give a number")
    return value
