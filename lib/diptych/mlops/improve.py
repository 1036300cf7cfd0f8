"""Stage 6, improve: retrain on the alarm, and let the gate choose on a later slice of time."""

import pandas as pd

from diptych.core.data.tasks import Task
from diptych.core.evaluation.graders import Scoring
from diptych.core.monitoring.windows import (
    LOSS,
    LiveRows,
    WindowSplit,
    first_alarm,
    in_windows,
    outcome,
    split_windows,
    training_rows,
)
from diptych.mlops import build
from diptych.mlops.fitting import answers_of
from diptych.mlops.models.model import Model, with_known_labels

__all__ = [
    "LOSS", "LiveRows", "WindowSplit", "by_window", "first_alarm", "in_windows", "outcome",
    "split_windows", "training_rows",
]  # fmt: skip


def retrain(
    champion: Model,
    data: pd.DataFrame,
    windows: pd.Series,
    plan: WindowSplit,
    task: Task,
    seed: int,
) -> Model:
    """Fit the champion's family and setting to its rows and the newly labelled ones.

    Calibration and threshold come from the validation set; of a champion that was selected by
    cross-validation, which learnt these rows, too, they stay.
    """
    return fit(champion, training_rows(data, windows, plan), data, task, seed)


def fit(champion: Model, rows: pd.DataFrame, data: pd.DataFrame, task: Task, seed: int) -> Model:
    """Fit the champion's family and setting to some rows, as `retrain` does.

    Parameters
    ----------
    data : DataFrame
        Canonical rows; those of the validation set calibrate.
    """
    valid = build.part(data, "valid")
    if champion.folds:
        return build.refit(champion, pd.concat([rows, valid]), task, seed)
    challenger = build.refit(champion, rows, task, seed)
    valid = with_known_labels(valid, challenger.classes)
    answers_of(challenger, valid).settle(challenger, task, seed)
    return challenger


def by_window(
    models: dict[str, Model],
    data: pd.DataFrame,
    windows: pd.Series,
    names: list[str],
    scoring: str | Scoring,
) -> LiveRows:
    """Score models on the live rows of some windows; the result has their metric by window."""
    rows, scoring = in_windows(data, windows, names), Scoring.of(scoring)
    scored = {name: build.evaluate(model, rows, scoring).rows for name, model in models.items()}
    return LiveRows(scored, rows["id"].map(windows).to_numpy(object), scoring.metric)
