"""Stage 5, monitor: drift, estimated accuracy, and true accuracy once the labels are in."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.core.data.column import BOOLEAN, CATEGORY, NUMBER, TEXT
from diptych.core.evaluation.graders import RIGHT
from diptych.core.monitoring.drift import Profile
from diptych.core.monitoring.text_drift import describe_texts, new_words
from diptych.core.monitoring.windows import (
    InputWatch,
    accuracy_by_window,
    add_labels,
    before_and_since,
    watch_inputs,
)
from diptych.mlops import build
from diptych.mlops.models.model import Model

__all__ = [
    "Watch", "add_labels", "before_and_since", "describe", "describe_texts", "new_words",
    "reference", "watch",
]  # fmt: skip


@dataclass(frozen=True)
class Watch(InputWatch):
    """What the log shows of the inputs and of the answers, window by window.

    Attributes
    ----------
    accuracy : DataFrame
        As `diptych.core.monitoring.windows.accuracy_by_window` returns it.
    """

    accuracy: pd.DataFrame


def describe(model: Model, rows, probabilities: np.ndarray | None = None) -> pd.DataFrame:
    """Return the columns of rows in which drift is looked for.

    Tables are described by their own columns, but times, which always move on; texts by length,
    by the share of words the model has never seen, and by how they are written. All get the
    model's confidence and prediction, under names no column of a table can have.

    Parameters
    ----------
    rows : list of str, array, DataFrame of typed columns or list of lists
        As `Model.predict_proba` takes them, shape (n, len(model.features)).
    probabilities : array, shape (n, classes), optional
        What the model answered; computed here if not given.
    """
    if probabilities is None:
        probabilities = model.predict_proba(rows)
    if model.kind == "text":
        frame = describe_texts(rows, model.encoder.words)
    elif model.typed:
        frame = _describe_columns(model, rows)
    else:
        frame = pd.DataFrame(np.asarray(rows, dtype=float), columns=model.features)
    frame["model confidence"] = probabilities.max(axis=1)
    frame["model prediction"] = np.asarray(model.classes)[probabilities.argmax(axis=1)]
    return frame


def _describe_columns(model: Model, rows) -> pd.DataFrame:
    """Return numbers and booleans as numbers, categories as strings, and what texts are like."""
    columns = model.encoder.columns
    if not isinstance(rows, pd.DataFrame):
        names = [column.name for column in columns]
        rows = pd.DataFrame(rows, columns=names, dtype=object)
    parts = []
    for column in columns:
        values = rows[column.name].reset_index(drop=True)
        if column.kind in (NUMBER, BOOLEAN):
            parts.append(pd.to_numeric(values).astype("Float64").astype("float64"))
        elif column.kind == CATEGORY:
            parts.append(values.astype("str"))
        elif column.kind == TEXT:
            known = model.encoder.words(column.name)
            texts = describe_texts(values.dropna().tolist(), known)
            texts.index = values.index[values.notna()]
            parts.append(texts.reindex(values.index).add_prefix(f"{column.name}: "))
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=range(len(rows)))


def reference(folder: Path) -> Profile:
    """Load the profile stored with a released model."""
    return Profile.from_dict(json.loads((folder / "reference.json").read_text()))


def watch(
    model: Model, profile: Profile, log: pd.DataFrame, windows: pd.Series, grader: str
) -> Watch:
    """Look at the prediction log window by window.

    Parameters
    ----------
    log : DataFrame
        Predictions of the serving run, as the ledger returns them. Failed ones, and those of
        rows that have no window, are left out.
    windows : Series
        Window of each ``row_id``.
    grader : str
        The task's grader.

    Raises
    ------
    ValueError
        If no prediction is left.
    """
    log = log[(log["status"] == "ok") & log["row_id"].isin(windows.index)]
    if log.empty:
        raise ValueError("log: it holds no prediction of a row with a window; run mlops/4_serve")
    inputs = log["input"].tolist()
    described = describe(model, model.inputs(inputs), np.array(log["probabilities"].tolist()))
    named = log["row_id"].map(windows).to_numpy()
    seen = watch_inputs(profile, described, named)
    expected = log["label"].fillna("")
    grade = build.grades(model, inputs, log["prediction"], expected, grader)
    right = pd.Series(grade >= RIGHT, log.index, dtype=float).where(log["label"].notna())
    accuracy = accuracy_by_window(named, log["probability"], right)
    return Watch(seen.drift, seen.scores, seen.failed, accuracy)
