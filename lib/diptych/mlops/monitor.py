"""Stage 5, monitor: drift, and the task's metric once the labels are in; alarms on both."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.core.data.column import BOOLEAN, CATEGORY, NUMBER, TEXT
from diptych.core.evaluation import graders
from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import NUMBERS
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import meaning_drift
from diptych.core.monitoring.drift import Profile
from diptych.core.monitoring.text_drift import describe_texts, new_words
from diptych.core.monitoring.windows import (
    InputWatch,
    Quality,
    add_labels,
    alarmed,
    marks,
    watch_inputs,
)
from diptych.mlops import build
from diptych.mlops.models.model import Model

__all__ = [
    "Watch", "add_labels", "alarmed", "describe", "describe_texts", "marks", "meaning",
    "new_words", "reference", "watch",
]  # fmt: skip


@dataclass(frozen=True)
class Watch(InputWatch):
    """What the log shows of the inputs and of the answers, window by window.

    Attributes
    ----------
    quality : Quality
        How good the answers are, by the task's metric.
    """

    quality: Quality


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
        What the model answered; computed here if not given. Of a regression the numbers, shape
        (n, 1), which have no confidence.
    """
    if probabilities is None:
        probabilities = model.predict_proba(rows)
    if model.kind == "text":
        frame = describe_texts(rows, model.encoder.words)
    elif model.typed:
        frame = _describe_columns(model, rows)
    else:
        frame = pd.DataFrame(np.asarray(rows, dtype=float), columns=model.features)
    if model.regression:
        frame["model prediction"] = model.labels_of(probabilities)
        return frame
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
    model: Model, profile: Profile, log: pd.DataFrame, windows: pd.Series, scoring: str | Scoring
) -> Watch:
    """Look at the prediction log window by window.

    Parameters
    ----------
    log : DataFrame
        Predictions of the serving run, as the ledger returns them. Failed ones, and those of
        rows that have no window, are left out.
    windows : Series
        Window of each ``row_id``.
    scoring : Scoring, or str
        The task's, see `build.evaluate`.

    Raises
    ------
    ValueError
        If no prediction is left.
    """
    log = log[(log["status"] == "ok") & log["row_id"].isin(windows.index)]
    if log.empty:
        raise ValueError("log: it holds no prediction of a row with a window; run mlops/4_serve")
    inputs = log["input"].tolist()
    described = describe(model, model.inputs(inputs), _outputs(model, log))
    named = log["row_id"].map(windows).to_numpy()
    seen = watch_inputs(profile, described, named)
    scoring, labelled = Scoring.of(scoring), log["label"].notna().to_numpy()
    rows = _scored(model, log[labelled], scoring)
    confidence = log["probability"].astype(float).set_axis(named)
    quality = Quality.of(scoring.metric, rows, named[labelled], confidence)
    return Watch(seen.drift, seen.scores, seen.failed, quality)


def meaning(
    model: Model, data: pd.DataFrame, log: pd.DataFrame, windows: pd.Series, seed: int
) -> pd.DataFrame:
    """Compare what the texts of each window mean with the test set.

    Parameters
    ----------
    data : DataFrame
        Canonical rows.
    log, windows
        As `watch` takes them.

    Returns
    -------
    DataFrame
        See `meaning_drift.by_window`; without lines for tables.
    """
    if model.kind != "text":
        return pd.DataFrame(columns=meaning_drift.COLUMNS)
    log = log[log["row_id"].isin(windows.index)]
    before = build.part(data, "test")["text"]
    return meaning_drift.by_window(before, log["input"], log["row_id"].map(windows), seed)


def _outputs(model: Model, log: pd.DataFrame) -> np.ndarray:
    """Return what the model gave in service: probabilities, or numbers, shape (n, 1)."""
    if model.regression:
        return log["prediction"].to_numpy(float).reshape(-1, 1)
    return np.array(log["probabilities"].tolist())


def _scored(model: Model, log: pd.DataFrame, scoring: Scoring) -> ScoredRows:
    """Return labelled lines of the log as metrics take them, with what was answered in service."""
    if graders.get(scoring.grader).needs_reference:
        inputs, answered = log["input"].tolist(), log["prediction"]
        return ScoredRows.of_grades(
            build.grades(model, inputs, answered, log["label"], scoring.grader), log["row_id"]
        )
    if scoring.metric.needs == NUMBERS:
        return ScoredRows.of_numbers(log["label"].astype(float), log["prediction"].astype(float))
    shares = np.array(log["probabilities"].tolist(), float).reshape(len(log), len(model.classes))
    truth, answered = log["label"].to_numpy(object), log["prediction"].to_numpy(object)
    return scoring.metric.scored(truth, answered, shares, model.classes)
