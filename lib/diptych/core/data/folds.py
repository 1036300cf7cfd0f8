"""Folds: parts of some rows of which each is held out once."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def assign(
    labels: Sequence | np.ndarray, units: Sequence | np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Return each row's fold: classes in equal shares, rows of one unit together.

    Parameters
    ----------
    labels : sequence, shape (n,)
        Classes, or floats, whose folds are drawn at random.
    units : sequence, shape (n,)
        Rows of an equal unit (a group, or equal content) are in one fold.
    count : int
        At least 2.
    seed : int

    Returns
    -------
    ndarray of int, shape (n,)
        From 0 to `count` - 1.
    """
    from sklearn import model_selection as ways

    labels, units = np.asarray(labels), pd.factorize(np.asarray(units))[0]
    together, numbers = len(np.unique(units)) < len(units), labels.dtype.kind == "f"
    name = ("" if numbers else "Stratified") + ("Group" if together else "") + "KFold"
    way = getattr(ways, name)(count, shuffle=True, random_state=seed)
    fold = np.empty(len(labels), dtype=int)
    for number, (_, held_out) in enumerate(way.split(units, labels, units if together else None)):
        fold[held_out] = number
    return fold
