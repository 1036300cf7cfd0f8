"""Columns that tell the label by themselves, as one does that is filled in after the event.

Of many rows a sample is looked at: a column that tells nearly every row right shows it there.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from diptych.core.data.column import NUMBER, TEXT, TIME, Column

REST = (
    0.05  # of the errors of guessing the most frequent class: fewer, and a column tells the label
)
ROWS = 5  # to a value on average, or it tells rows apart and not classes
BINS = 50  # of a number or a time, by quantile
TENTHS = 10
FEWEST = 20  # rows; in fewer, chance may do it
MOST = 200_000  # rows that are looked at


def telling(frame: pd.DataFrame, columns: Sequence[Column]) -> list[tuple[str, float]]:
    """Return columns that tell the label alone, and the share of rows that each tells right.

    Each value of a column (of a number or a time, its quantile; a gap is a value) is taken for the
    class most frequent with it, and a label that is a number for the tenth in which it lies. That
    is compared with always guessing the most frequent class.

    Parameters
    ----------
    frame : DataFrame
        With ``label`` and the columns, shape (n, ...). Of more than `MOST` rows so many are drawn.
    columns : sequence of Column
        Texts are not looked at.

    Returns
    -------
    list of (str, float)
        Those with at most `REST` of the errors of guessing, the most telling first.
    """
    if len(frame) > MOST:
        frame = frame.sample(MOST, random_state=0)
    labels = frame["label"]
    if pd.api.types.is_float_dtype(labels.dtype):  # a number by its tenth
        labels = pd.qcut(labels, TENTHS, labels=False, duplicates="drop")
    labels = pd.factorize(labels)[0]
    guessed = 1 - np.bincount(labels).max() / len(labels) if len(labels) else 0
    if len(labels) < FEWEST or not guessed:
        return []
    entries = []
    for column in columns:
        if column.kind == TEXT:
            continue
        codes, values = _values(frame[column.name], column.kind)
        if values * ROWS > len(labels):
            continue
        pairs, counts = np.unique(codes * (labels.max() + 1) + labels, return_counts=True)
        starts = np.unique(pairs // (labels.max() + 1), return_index=True)[1]
        share = np.maximum.reduceat(counts, starts).sum() / len(labels)
        if 1 - share <= REST * guessed:
            entries.append((column.name, float(share)))
    return sorted(entries, key=lambda entry: -entry[1])


def _values(values: pd.Series, kind: str) -> tuple[np.ndarray, int]:
    """Return a code for each row's value, and how many there are."""
    if kind in (NUMBER, TIME) and values.nunique() > BINS:
        numbers = values.rank(pct=True)
        values = (numbers * BINS).round()
    codes, different = pd.factorize(values, use_na_sentinel=False)
    return codes, len(different)
