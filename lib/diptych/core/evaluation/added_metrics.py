"""Metrics that plugins add: a function of what is true and what was predicted, with its errors."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from diptych.base.plugins import PluginError
from diptych.core.evaluation import influence
from diptych.core.evaluation.influence import Influences
from diptych.core.evaluation.metrics import (
    LABELS,
    NUMBERS,
    PROBABILITIES,
    Metric,
    MetricError,
)
from diptych.core.evaluation.scored import ScoredRows

NEEDS = (LABELS, PROBABILITIES, NUMBERS)
GROUPS = 1000  # at most so many parts of the rows are left out in turn


def read_added(name: str, entry: object) -> Metric:
    """Return the metric that a package's entry point gives: one, or its function.

    Raises
    ------
    PluginError
        If it is neither.
    """
    return entry if isinstance(entry, Metric) else of_function(name, entry)


def of_function(
    name: str, function: object, *, title: str = "", per_row: bool = False, **about: Any
) -> Metric:
    """Return the metric of a function, see `diptych.face.register.metric`.

    Parameters
    ----------
    **about
        Fields of `Metric`: ``needs``, ``higher_is_better``, ``low``, ``high``.

    Raises
    ------
    PluginError
        If it is no function, or what it needs is unknown.
    """
    needs = about.setdefault("needs", LABELS)
    if not callable(function):
        raise PluginError(f"metric: {name!r} is no function of true and predicted values")
    if needs not in NEEDS:
        raise PluginError(f"metric: {name!r} needs {needs!r}; there are {', '.join(NEEDS)}")
    if ":" in name or name == "cost":
        raise PluginError(f"metric: {name!r} cannot be a name; take one without a colon, not cost")
    call = partial(_called, name, function, needs)
    if not per_row:
        return Metric(name, title or name, partial(_jackknife, name, call), **about)
    low, high = about.get("low", 0.0), about.get("high", 1.0)
    values = partial(_values, name, call, low, high)

    def mean(rows: ScoredRows) -> Influences:
        return influence.mean(values(rows))

    if (low, high) == (0.0, 1.0):
        return Metric(name, title or name, mean, alike=True, **about)
    return Metric(name, title or name, mean, losses=values, **about)


def _called(name: str, function: Callable, needs: str, rows: ScoredRows) -> np.ndarray:
    """Return what the function gives for some rows."""
    second: np.ndarray | None = rows.predicted
    if needs == PROBABILITIES:
        second = rows.score if rows.positive else rows.probabilities
    try:
        return np.asarray(function(rows.truth, second), dtype=float)
    except Exception as error:  # whatever it raises
        raise MetricError(f"metric: {name} failed: {type(error).__name__}: {error}") from error


def _values(
    name: str, call: Callable[[ScoredRows], np.ndarray], low: float, high: float, rows: ScoredRows
) -> np.ndarray:
    """Return one value a row, checked."""
    each = call(rows)
    if each.shape != (len(rows),) or not np.isfinite(each).all():
        raise MetricError(
            f"metric: {name} gave an array of shape {each.shape} for {len(rows)} rows, or missing "
            "values; give one number a row, or register it without per_row"
        )
    if ((each < low) | (each > high)).any():
        raise MetricError(
            f"metric: {name} gave values outside {low:g} to {high:g}; register it with its low and "
            "high"
        )
    return each


def _jackknife(name: str, call: Callable[[ScoredRows], np.ndarray], rows: ScoredRows) -> Influences:
    """Return influences by leaving out rows in turn (Efron and Tibshirani 1993, chapter 11).

    Of more than `GROUPS` rows, groups of them, drawn the same each time; of very many, from
    parts, see `influence.of_parts`.
    """
    n, value = len(rows), _number(name, call(rows))
    moved = np.zeros(n)
    if not np.isfinite(value):
        return value, np.full(n, np.nan)
    if n > influence.MANY:
        of_parts = influence.of_parts(n, lambda part: _number(name, call(rows.take(part))))
        if of_parts is not None:
            return value, of_parts
    order = np.random.default_rng(n).permutation(n)
    for group in np.array_split(order, min(n, GROUPS)):
        others = np.ones(n, dtype=bool)
        others[group] = False
        part = _number(name, call(rows.take(others)))
        # the sum over the group, spread so that the sum of squares is the group's
        moved[group] = (n - len(group)) * (value - part) / np.sqrt(len(group))
    return value, moved


def _number(name: str, value: np.ndarray) -> float:
    if value.shape != ():
        raise MetricError(
            f"metric: {name} gave an array of shape {value.shape}; give one number, or register it "
            "with per_row=True"
        )
    return float(value)
