"""Prediction intervals of numbers whose coverage is promised, and measured.

Split conformal prediction (Vovk et al. 2005; Lei et al. 2018, arXiv 1604.04173): the absolute
errors on rows that the model was not fitted to give a half width that covers a new row of the
same kind with the stated probability, whatever the model.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from diptych.core.evaluation.stats import Estimate, wilson


def half_width(errors: ArrayLike, level: float = 0.9) -> float:
    """Return the half width of a prediction interval.

    Parameters
    ----------
    errors : array of shape (n,)
        Predicted minus true number of held-out rows.
    level : float
        Share of new rows whose true number lies in the interval; at least, on average over
        draws of the held-out rows.

    Returns
    -------
    float
        Infinite where n is too small for the level: n >= level / (1 - level) is needed.

    Raises
    ------
    ValueError
        If there is no row or an error is missing, or the level is outside (0, 1).
    """
    sizes = np.abs(np.asarray(errors, float))
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: it must lie between 0 and 1.")
    if not len(sizes) or not np.isfinite(sizes).all():
        raise ValueError("errors: give at least one, and none that is missing or infinite.")
    place = math.ceil((len(sizes) + 1) * level)
    return float(np.sort(sizes)[place - 1]) if place <= len(sizes) else math.inf


def coverage(errors: ArrayLike, half: float) -> Estimate:
    """Return the share of rows whose true number lies in the interval, with Wilson's interval."""
    sizes = np.abs(np.asarray(errors, float))
    return wilson(int((sizes <= half).sum()), len(sizes))
