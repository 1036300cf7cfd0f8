"""Where the validation set is too small to choose by: train and validation rows in folds."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from diptych.core.data import folds, schema, slices
from diptych.core.data.sources import DataError
from diptych.core.data.tasks import Task
from diptych.core.evaluation import graders

COUNT = 5
FEWEST = 100  # validation rows that a choice rests on; where a rare class counts, rows of it
MOST = 100_000  # rows; of more, folds would take long


@dataclass(frozen=True, eq=False)
class Folds:
    """The train and validation rows, of which each fold is held out once.

    Attributes
    ----------
    rows : DataFrame
        Canonical rows of both splits.
    fold : ndarray of int, shape (n,)
    reason : str
        Why the validation set alone does not do, as a sentence.
    """

    rows: pd.DataFrame = field(repr=False)
    fold: np.ndarray = field(repr=False)
    reason: str

    @classmethod
    def of(cls, data: pd.DataFrame, task: Task, seed: int) -> "Folds | None":
        """Return the folds of a task, None where its validation set does or folds cannot be had.

        Parameters
        ----------
        data : DataFrame
            Canonical rows.
        """
        rows = data[data["split"].isin(["train", "valid"])]
        valid = rows.loc[rows["split"] == "valid", "label"]
        few = _few(valid, task)
        lone = rows.loc[rows["split"] == "train", "label"].nunique() < 2  # refused as ever
        if not few or lone or len(rows) > MOST or graders.get(task.grader).needs_reference:
            return None
        labels = rows["label"].to_numpy(float if task.regression else object)
        rarest = COUNT if task.regression else int(rows["label"].value_counts().min())
        count = min(COUNT, rarest)
        units = _units(rows, task)
        if count < 2 or units is None or len(np.unique(units)) < count:
            return None
        fold = folds.assign(labels, units, count, seed)
        classes = set(labels) if not task.regression else set()
        if any(classes - set(labels[fold != number]) for number in range(count)):
            return None  # a class lies in one group alone, and a model without it cannot be scored
        return cls(rows, fold, (
            f"Chosen by {count}-fold cross-validation on the {len(rows):,} train and validation "
            f"rows: the validation set has {few}, and a choice takes {FEWEST}."
        ))  # fmt: skip

    @property
    def count(self) -> int:
        """How many folds there are."""
        return int(self.fold.max()) + 1

    def parts(self) -> list[pd.DataFrame]:
        """Return the rows of each fold as the validation set, beside the others as train rows."""
        return [
            self.rows.assign(split=np.where(self.fold == number, "valid", "train"))
            for number in range(self.count)
        ]

    def joined(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Put what belongs to the rows of each fold into the order of all rows."""
        whole = np.empty((len(self.fold), *arrays[0].shape[1:]), arrays[0].dtype)
        for number, array in enumerate(arrays):
            whole[self.fold == number] = array
        return whole


def _few(valid: pd.Series, task: Task) -> str:
    """Return which rows are too few to choose by, such as "13 rows of 'yes'"; "" if none are."""
    if task.metric.alike or schema.is_number(valid):
        return _some(len(valid)) if 0 < len(valid) < FEWEST else ""
    counts = valid.value_counts()
    if counts.empty or counts.min() >= FEWEST:
        return ""
    return f"{_some(int(counts.min()))} of {counts.idxmin()!r}"


def _some(rows: int) -> str:
    return f"{rows:,} row{'s' * (rows != 1)}"


def _units(rows: pd.DataFrame, task: Task) -> np.ndarray | None:
    """Return what may not be parted: the rows of a group, else those of equal content.

    None where the groups can no longer be read.
    """
    if task.group_column:
        try:
            return slices.values(task, rows, task.group_column).astype("str").to_numpy(object)
        except DataError as error:
            print(f"No cross-validation, which would need the groups: {error}")
            return None
    return pd.util.hash_pandas_object(rows[task.features], index=False).to_numpy()
