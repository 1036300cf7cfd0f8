"""Looking again and again without crying wolf: how much error each look may spend.

Whoever looks at 20 windows with 95 % intervals sees a false alarm in most streams. Look k spends
alpha * 6 / (pi² k²), which sums to alpha over any number of looks (Bonferroni; Foster and Stine
2008 call it alpha spending).
"""

import math

import pandas as pd

from diptych.core.evaluation.stats import Estimate

ALPHA = 0.05


def level(look: int, alpha: float = ALPHA) -> float:
    """Return the level of the two-sided interval at one look.

    Parameters
    ----------
    look : int
        1 for the first.
    alpha : float
        Chance of a false alarm over all looks.

    Raises
    ------
    ValueError
        If `look` is below 1.
    """
    if look < 1:
        raise ValueError(f"look is {look}: the first is 1.")
    return 1 - alpha * 6 / (math.pi * look) ** 2


def falls(
    figures: dict[str, Estimate], reference: float, margin: float, better: int = 1
) -> pd.DataFrame:
    """Say for each look whether a metric has fallen below its reference by more than a margin.

    Parameters
    ----------
    figures : dict of str to Estimate
        By window, in order, each with an interval of `level` of its look.
    reference : float
        The figure at release.
    margin : float
        A loss that would not matter.
    better : int
        1 where more of the metric is better, -1 where less is.

    Returns
    -------
    DataFrame
        ``window``, ``value``, ``low``, ``high``, ``n``, ``alarm``.
    """
    lines = []
    for window, figure in figures.items():
        best = figure.high if better > 0 else -figure.low
        alarm = bool(best < better * reference - margin)
        lines.append((window, figure.value, figure.low, figure.high, figure.n, alarm))
    return pd.DataFrame(lines, columns=["window", "value", "low", "high", "n", "alarm"])
