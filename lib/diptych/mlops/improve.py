"""Stage 6, improve: retrain on the alarm, and let the gate choose on a later slice of time."""

import pandas as pd

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
from diptych.mlops.models.model import Model

__all__ = [
    "LOSS", "LiveRows", "WindowSplit", "by_window", "first_alarm", "in_windows", "outcome",
    "split_windows", "training_rows",
]  # fmt: skip


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
