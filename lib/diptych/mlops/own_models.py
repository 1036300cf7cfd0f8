"""Models of your own and of plugins, as the families' models are: fitted, checked, described."""

from typing import Any

import numpy as np
import pandas as pd

from diptych.core.data.tasks import Task
from diptych.mlops.models import model as models
from diptych.mlops.models import own
from diptych.mlops.models.estimators import ModelError
from diptych.mlops.models.model import Model


def task_rows(rows: pd.DataFrame, task: Task):
    """Take what a model of this task reads from canonical rows."""
    return models.rows_of(rows, task.kind, task.features, typed=bool(task.columns))


def own_model(name: str, fitted, train: pd.DataFrame, task: Task, codes: bool = False) -> Model:
    """Return a fitted model of your own as the families' models are.

    Parameters
    ----------
    fitted : object
        See `diptych.mlops.leaderboard.Leaderboard.add`.
    train : DataFrame
        The training rows: their classes are the task's, and monitoring compares with them.
    codes : bool
        Whether it was fitted to the places of the sorted classes, see `own.needs_codes`.

    Raises
    ------
    ModelError
        If it has no ``predict``, or the rows hold fewer than two classes.
    """
    classes = models.classes_of(train["label"])
    rows, first = task_rows(train, task), train.head(1)
    if task.columns:
        sample = models.plain_rows(first, task.columns)
    else:
        sample = task_rows(first, task)
        sample = sample if task.kind == "text" else sample.tolist()
    encoder = own.features(task.kind, task.features, task.columns, rows, sample)
    estimator = own.OwnEstimator(name, fitted, classes, codes)
    model = Model(name, task.kind, task.features, classes, {}, encoder, estimator)
    model.replies, model.text_column = task.replies, task.text_column
    return model


def fit_own(
    name: str, estimator: Any, train: pd.DataFrame, task: Task, valid: pd.DataFrame | None = None
) -> Model:
    """Return a fitted copy of an unfitted estimator as the families' models are.

    Parameters
    ----------
    name : str
        How messages call it.
    estimator : object
        With scikit-learn's interface. Texts are a list, other rows a DataFrame of the columns.
    train : DataFrame
    valid : DataFrame, optional
        Rows on which boosting stops early, if its ``early_stopping_rounds`` are set; without them
        it does not stop early.

    Raises
    ------
    ModelError
        If it cannot be copied or fitted, or as `own_model` does.
    """
    from sklearn.base import clone

    try:
        copy = clone(estimator)
    except TypeError as error:
        raise ModelError(
            f"{name}: a {type(estimator).__name__} cannot be copied; give it scikit-learn's "
            "get_params and fit, as by deriving it from sklearn.base.BaseEstimator"
        ) from error
    classes = models.classes_of(train["label"])  # refuses a single class
    rows = task_rows(train, task)
    features = own.features(task.kind, task.features, task.columns, rows, [])
    codes = bool(classes) and own.needs_codes(copy)

    def read(frame: pd.DataFrame) -> tuple:
        label = models.encode(frame["label"], classes) if codes else frame["label"]
        kind = float if task.regression else int if codes else object
        return features.transform(task_rows(frame, task)), np.asarray(label, dtype=kind)

    try:
        own.fit(copy, *read(train), None if valid is None else read(valid))
    except Exception as error:  # whatever it raises
        what = "a list of texts" if task.kind == "text" else "a DataFrame of the task's columns"
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise ModelError(
            f"{name}: fit failed on {what}: {type(error).__name__}: {reason}"
        ) from error
    return own_model(name, copy, train, task, codes)
