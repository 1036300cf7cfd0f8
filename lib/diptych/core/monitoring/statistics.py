"""Drift statistics that plugins add: a function of two histograms, a column of drift tables."""

import math
from collections.abc import Callable

import numpy as np

from diptych.base import plugins

Statistic = Callable[[np.ndarray, np.ndarray], float]
# those of Diptych's own, which no plugin may name
TAKEN = ("ks", "wasserstein", "psi", "js", "shift", "threshold", "drifted", "feature", "kind", "n",
         "missing", "reason", "window", "worst", "alarm")  # fmt: skip


def read_added(name: str, entry: object) -> Statistic:
    """Return the statistic that a package's entry point gives.

    Raises
    ------
    PluginError
        If it is no function.
    """
    if not callable(entry):
        raise plugins.PluginError(f"drift: {name!r} is no function of two histograms")
    return entry


STATISTICS: plugins.Registry[Statistic] = plugins.Registry("drift", {}, read_added, taken=TAKEN)


def measured(reference: np.ndarray, window: np.ndarray) -> dict[str, float]:
    """Return every added statistic of a column.

    Parameters
    ----------
    reference, window : ndarray of float, shape (bins,)
        Share of the rows in each bin, or of each level; bins that are empty in both are left out.

    Raises
    ------
    ValueError
        If a statistic fails, or gives no number.
    """
    figures = {}
    for name, statistic in STATISTICS.items():
        try:
            figures[name] = float(statistic(reference, window))
        except Exception as error:  # whatever it raises
            raise ValueError(f"drift: {name} failed: {type(error).__name__}: {error}") from error
        if math.isnan(figures[name]):
            raise ValueError(f"drift: {name} gave {figures[name]}; it must give a number")
    return figures
