"""How far stated confidence is from what comes true, with the bias of few rows taken out.

The usual expected calibration error is above 0 by chance alone: a perfectly calibrated model on
100 rows has about 0.1. The debiased error of Kumar, Liang and Ma (2019, arXiv 1909.10155,
section 5) subtracts what chance adds in each bin.
"""

import math
from collections.abc import Sequence

import numpy as np

from diptych.core.evaluation.metrics import Figure
from diptych.core.evaluation.stats import reliability

BINS, ROWS_A_BIN = 15, 15
FEWEST = 30  # rows, fewer hold no interval


def error(confidence: Sequence[float], correct: Sequence, level: float = 0.95) -> Figure:
    """Return the root mean square distance between confidence and accuracy, debiased.

    Parameters
    ----------
    confidence : array of shape (n,)
        Probability given to the predicted class.
    correct : array of shape (n,)
        1 where the prediction is right, else 0.
    level : float
        Coverage of the interval, which is a normal one on the squared error: in a bin with gap g
        whose accuracy has variance v, g² - v has variance 4 g² v + 2 v².

    Raises
    ------
    ValueError
        If a value is missing or outside 0..1, or there are fewer than two.
    """
    from scipy.stats import norm

    n = len(confidence)
    table = reliability(confidence, correct, bins=min(BINS, max(1, n // ROWS_A_BIN)))
    weight = table["n"].to_numpy() / n
    gap2 = (table["confidence"] - table["accuracy"]).to_numpy() ** 2
    noise = _variance(table["accuracy"].to_numpy(), table["n"].to_numpy())
    square = float(weight @ (gap2 - noise))
    spread = math.sqrt(float((weight**2) @ (4 * gap2 * noise + 2 * noise**2)))
    half = float(norm.ppf(0.5 + level / 2)) * spread
    squares = (square, square - half, square + half)
    value, low, high = (math.sqrt(max(x, 0.0)) for x in squares)
    note = "" if n >= FEWEST else f"{n} rows are too few for a calibration error; it takes {FEWEST}"
    return Figure(value, low, high, n, note)


def _variance(share: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the variance of a bin's accuracy; a bin without an error is given half of one."""
    inside = np.clip(share, 0.5 / n, 1 - 0.5 / n)
    return inside * (1 - inside) / np.maximum(n - 1, 1)
