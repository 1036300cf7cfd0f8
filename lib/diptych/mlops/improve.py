"""Stage 6, improve: retrain on the alarm, and let the gate choose on a later slice of time."""

import pandas as pd

from diptych.core.monitoring import windows as timeline
from diptych.core.monitoring.windows import (
    LOSS,
    WindowSplit,
    in_windows,
    outcome,
    split_windows,
    training_rows,
)
from diptych.mlops import build
from diptych.mlops.models.model import Model

__all__ = [
    "LOSS", "WindowSplit", "by_window", "in_windows", "outcome", "split_windows", "training_rows",
]  # fmt: skip


def by_window(
    models: dict[str, Model],
    data: pd.DataFrame,
    windows: pd.Series,
    names: list[str],
    grader: str,
) -> pd.DataFrame:
    """Score models on each window, see `diptych.core.monitoring.windows.by_window`."""
    rows = in_windows(data, windows, names)
    correct = {
        name: pd.Series(build.evaluate(model, rows, grader).correct, index=rows["id"])
        for name, model in models.items()
    }
    return timeline.by_window(correct, windows, names)
