"""Stage 5, monitor: drift, estimated accuracy, and true accuracy once the labels are in."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

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

    Tables are described by their own columns; texts by length, by the share of words the model
    has never seen, and by how they are written. Both get the model's confidence and prediction,
    under names no column of a table can have.

    Parameters
    ----------
    rows : list of str, or array, shape (n, len(model.features))
    probabilities : array, shape (n, classes), optional
        What the model answered; computed here if not given.
    """
    if probabilities is None:
        probabilities = model.predict_proba(rows)
    if model.kind == "text":
        frame = describe_texts(rows, model.encoder.words)
    else:
        frame = pd.DataFrame(np.asarray(rows, dtype=float), columns=model.features)
    frame["model confidence"] = probabilities.max(axis=1)
    frame["model prediction"] = np.asarray(model.classes)[probabilities.argmax(axis=1)]
    return frame


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
    rows = inputs if model.kind == "text" else np.asarray(inputs, dtype=float)
    described = describe(model, rows, np.array(log["probabilities"].tolist()))
    named = log["row_id"].map(windows).to_numpy()
    seen = watch_inputs(profile, described, named)
    expected = log["label"].fillna("")
    grade = build.grades(model, inputs, log["prediction"], expected, grader)
    right = pd.Series(grade >= RIGHT, log.index, dtype=float).where(log["label"].notna())
    accuracy = accuracy_by_window(named, log["probability"], right)
    return Watch(seen.drift, seen.scores, accuracy)
