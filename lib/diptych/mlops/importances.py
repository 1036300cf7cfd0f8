"""What a fitted model looks at: XGBoost's contributions, coefficients, or permuted columns."""

import numpy as np
import pandas as pd

from diptych.core.data.tasks import Task
from diptych.mlops.models.model import Model
from diptych.mlops.models.own import last_step

MOST = 200  # rows that are looked at
COLUMNS = ["name", "value", "low", "high", "n"]


def importances(
    model: Model, rows: pd.DataFrame, task: Task, seed: int, most: int = 12
) -> pd.DataFrame:
    """Return the features that move a model's answers most, with a bootstrap interval.

    Of trees the mean size of a feature's contribution to a row's score (SHAP values, Lundberg and
    Lee 2017, arXiv 1705.07874), of a linear model that of coefficient times value; of both in log
    odds, or in the label's unit where it is a number. Of any other model of a table how far its
    answers move when a column is shuffled (after Breiman 2001, "Random forests").

    Parameters
    ----------
    rows : DataFrame
        Canonical rows that the model was not fitted to; the first `MOST` are read.
    most : int
        Features that are returned.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``n``, the largest first; empty where the model does
        not show what it looks at.
    """
    rows = rows.head(MOST)
    if not len(rows):
        return pd.DataFrame(columns=COLUMNS)
    if model.is_own:
        names, sizes = _of_own(model, rows, task)
    else:
        names, sizes = _of_family(model, rows)
    if not len(names) and task.kind != "text":
        names, sizes = _permuted(model, rows, seed)
    return _summary(names, sizes, seed, most)


def _of_family(model: Model, rows: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    matrix = model.encoder.transform(model.rows_of(rows))
    names = list(getattr(model.encoder, "names", model.features))
    if matrix.shape[1:] != (len(names),):  # such as embeddings, which have no names
        return [], np.empty(0)
    estimator = model.estimator
    if hasattr(estimator, "weights") and hasattr(estimator, "bias"):
        return names, _linear(matrix, np.asarray(estimator.weights))
    booster = getattr(estimator, "model", None)
    trees = type(booster).__name__ == "Booster" and getattr(estimator, "booster", "") == "gbtree"
    if trees:
        return names, _contributions(booster, matrix)
    return [], np.empty(0)


def _of_own(model: Model, rows: pd.DataFrame, task: Task) -> tuple[list[str], np.ndarray]:
    """Return those of a scikit-learn pipeline whose last step is linear, or XGBoost's trees."""
    pipeline = model.estimator.model
    last = last_step(pipeline)
    if last is pipeline or not hasattr(pipeline[:-1], "get_feature_names_out"):
        return [], np.empty(0)
    try:
        names = list(pipeline[:-1].get_feature_names_out())
        matrix = pipeline[:-1].transform(model.encoder.transform(model.rows_of(rows)))
    except (AttributeError, ValueError):  # a step that does not name what it gives
        return [], np.empty(0)
    if hasattr(last, "coef_"):
        return names, _linear(matrix, np.atleast_2d(last.coef_).T)
    if hasattr(last, "get_booster"):
        return names, _contributions(last.get_booster(), matrix)
    return [], np.empty(0)


def _linear(matrix, weights: np.ndarray):
    """Return the size of each feature's part of the score, shape (n, features), sparse if so."""
    size = np.abs(weights.reshape(len(weights), -1)).mean(axis=1)
    if hasattr(matrix, "tocsr"):
        return abs(matrix).multiply(size).tocsr()
    return np.abs(np.asarray(matrix, dtype=float)) * size


def _contributions(booster, matrix) -> np.ndarray:
    """Return the size of each feature's part of the score, shape (n, features)."""
    import xgboost

    from diptych.mlops.models.columns import coded

    data = xgboost.DMatrix(matrix, **coded(matrix))
    parts = np.abs(booster.predict(data, pred_contribs=True, validate_features=False))
    parts = parts.mean(axis=1) if parts.ndim == 3 else parts
    return parts[:, :-1]  # the last is the bias


def _permuted(model: Model, rows: pd.DataFrame, seed: int) -> tuple[list[str], np.ndarray]:
    """Return how much the answers move when a column is shuffled, shape (n, columns)."""
    rng = np.random.default_rng(seed)
    before = model.predict_proba(rows)
    moved = []
    for name in model.features:
        other = rows.assign(**{name: rows[name].to_numpy()[rng.permutation(len(rows))]})
        other[name] = other[name].astype(rows[name].dtype)
        moved.append(np.abs(model.predict_proba(other) - before).mean(axis=1))
    return list(model.features), np.column_stack(moved)


def _summary(names: list[str], sizes, seed: int, most: int) -> pd.DataFrame:
    if not len(names) or sizes.shape[1] != len(names):
        return pd.DataFrame(columns=COLUMNS)
    means = np.asarray(sizes.mean(axis=0)).ravel()
    order = np.argsort(-means, kind="stable")[:most]
    chosen = sizes[:, order]
    chosen = np.asarray(chosen.todense()) if hasattr(chosen, "todense") else chosen
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(chosen), size=(200, len(chosen)))
    low, high = np.quantile(chosen[draws].mean(axis=1), (0.025, 0.975), axis=0)
    table = {"name": [str(names[at]) for at in order], "value": means[order], "low": low,
             "high": high, "n": len(chosen)}  # fmt: skip
    frame = pd.DataFrame(table)
    return frame[frame["value"] > 0].reset_index(drop=True)
